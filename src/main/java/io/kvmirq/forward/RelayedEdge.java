/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;

/** A message, or an edge of a line: all signals since the last time are one interrupt, as of an irqfd. */
final class RelayedEdge extends RelayedIrq {
    private final Userspace.Injector injector;
    /** Changed while the registration is paused, or before it is made. */
    private volatile Runnable injection;

    private final EventLoop.Registration registration;

    private RelayedEdge(Userspace userspace, EventFd event, boolean masked, Runnable injection) {
        super(event);
        this.injector = userspace.injector();
        this.injection = injection;
        this.registration = registered(userspace, masked);
    }

    static RelayedEdge message(Userspace userspace, EventFd event, boolean masked, MsiMessage message) {
        return new RelayedEdge(
                userspace, event, masked, () -> userspace.injector().message(message));
    }

    static RelayedEdge line(Userspace userspace, EventFd event, boolean masked, Gsi gsi) {
        Userspace.Injector injector = userspace.injector();
        return new RelayedEdge(userspace, event, masked, () -> {
            injector.line(gsi, true);
            injector.line(gsi, false);
        });
    }

    @Override
    void signalled() {
        injection.run();
    }

    @Override
    void mask() {
        registration.pause();
    }

    @Override
    void unmask() {
        registration.resume();
    }

    /** Injects another message from now on. Only while it is masked. */
    void reroute(MsiMessage message) {
        injection = () -> injector.message(message);
    }

    @Override
    public void close() {
        registration.close();
    }
}
