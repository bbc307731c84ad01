/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;

/** Relays a message or edge-triggered line. As with an irqfd, all signals since the last read become one interrupt. */
final class RelayedEdge extends RelayedIrq {
    private final Userspace.Injector injector;
    private volatile Runnable injection;

    private RelayedEdge(Userspace userspace, EventFd event, Runnable injection) {
        super(userspace, event);
        this.injector = userspace.injector();
        this.injection = injection;
    }

    static RelayedEdge message(Userspace userspace, EventFd event, MsiMessage message) {
        return new RelayedEdge(userspace, event, () -> userspace.injector().message(message));
    }

    static RelayedEdge line(Userspace userspace, EventFd event, Gsi gsi) {
        Userspace.Injector injector = userspace.injector();
        return new RelayedEdge(userspace, event, () -> {
            injector.line(gsi, true);
            injector.line(gsi, false);
        });
    }

    @Override
    void signalled() {
        injection.run();
    }

    /** Changes the message. The old one can still be injected until {@link #settle} returns. */
    void reroute(MsiMessage message) {
        injection = () -> injector.message(message);
    }
}
