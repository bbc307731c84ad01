/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import java.util.concurrent.atomic.AtomicLong;

/**
 * An eventfd whose signals are injected by this process, from its creation on. It leases the eventfd. Thread-safe; no
 * lock is held while the injector runs.
 */
abstract sealed class RelayedIrq implements AutoCloseable permits RelayedEdge, RelayedLine {
    private final AtomicLong signals = new AtomicLong();
    private final AtomicLong injected = new AtomicLong();

    /** Registers the eventfd; the constructors of subclasses do so last, since the handler may run at once. */
    final EventLoop.Registration registered(Userspace userspace, EventFd event, boolean masked) {
        EventLoop.Handler handler = count -> {
            signals.addAndGet(count);
            signalled();
        };
        EventLoop loop = userspace.loop();
        return masked ? loop.registerPaused(event, handler) : loop.register(event, handler);
    }

    abstract void signalled();

    final void countInjection() {
        injected.incrementAndGet();
    }

    /** Signals taken from the eventfd. */
    final long signals() {
        return signals.get();
    }

    /** Interrupts injected: at most one for each time that signals were taken. */
    final long injected() {
        return injected.get();
    }

    /** Leaves signals in the eventfd. When it returns the loop injects nothing more. Masking twice is masking once. */
    abstract void mask();

    /** Ends {@link #mask}; signals that came meanwhile are injected once. */
    abstract void unmask();

    /** Signals from then on stay in the eventfd. When it returns the loop injects nothing more. Idempotent, never fails. */
    @Override
    public abstract void close();
}
