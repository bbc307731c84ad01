/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;

/** A message, or an edge of a line: whatever was signalled since the last time is one interrupt, as of an irqfd. */
final class RelayedEdge extends RelayedIrq {
    private final Userspace.Injector injector;
    /** Changed while the registration is paused, or before it is made. */
    private volatile Runnable injection;

    private final EventLoop.Registration registration;
    private boolean masked;

    private RelayedEdge(Userspace userspace, EventFd event, boolean masked, Runnable injection) {
        this.masked = masked;
        this.injector = userspace.injector();
        this.injection = injection;
        this.registration = registered(userspace, event, masked);
    }

    static RelayedEdge message(Userspace userspace, EventFd event, boolean masked, MsiMessage message) {
        Userspace.Injector injector = userspace.injector();
        return new RelayedEdge(userspace, event, masked, () -> injector.message(message));
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
        countInjection();
    }

    @Override
    synchronized void mask() {
        registration.pause();
        masked = true;
    }

    @Override
    synchronized void unmask() {
        registration.resume();
        masked = false;
    }

    /** When it returns, the former message is not injected any more; nothing is lost meanwhile. */
    synchronized void reroute(MsiMessage message) {
        registration.pause();
        injection = () -> injector.message(message);
        if (!masked) {
            registration.resume();
        }
    }

    @Override
    public void close() {
        registration.close();
    }
}
