/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;

/**
 * An eventfd whose signals are injected by this process, from its creation on. It leases the eventfd. Thread-safe; no
 * lock is held while the injector runs.
 */
abstract sealed class RelayedIrq implements AutoCloseable permits RelayedEdge, RelayedLine {
    private final EventFd event;

    RelayedIrq(EventFd event) {
        this.event = event;
    }

    final EventFd event() {
        return event;
    }

    /** Registers the eventfd; the constructors of subclasses do so last, since the handler may run at once. */
    final EventLoop.Registration registered(Userspace userspace, boolean masked) {
        EventLoop loop = userspace.loop();
        return masked ? loop.registerPaused(event, count -> signalled()) : loop.register(event, count -> signalled());
    }

    abstract void signalled();

    /** Leaves signals in the eventfd. When it returns the loop injects nothing more. Masking twice is masking once. */
    abstract void mask();

    /** Ends {@link #mask}; signals that came meanwhile are injected once. */
    abstract void unmask();

    /**
     * Signals from then on stay in the eventfd. When it returns the loop injects nothing more. Idempotent, never fails.
     */
    @Override
    public abstract void close();
}
