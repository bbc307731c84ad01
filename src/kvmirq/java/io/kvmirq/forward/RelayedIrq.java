/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.events.Events;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Registration;

/**
 * Injects an eventfd's signals from this process, and leases the eventfd. No lock is held while the injector runs.
 * {@link #hold} and {@link #release} need the caller's lock, and neither inject nor wait. {@link #settle} and {@link
 * #close} can do both, and are called without a lock.
 */
abstract sealed class RelayedIrq implements AutoCloseable permits RelayedEdge, RelayedLine {
    private final EventFd event;
    private final Registration registration;
    /** The number of holds. A new relay has one, until its first {@link #release}. */
    private int holds = 1;

    RelayedIrq(Userspace userspace, EventFd event) {
        this.event = event;
        int number = ForwardCalls.number(event.fd());
        this.registration = userspace.loop().registerPaused(event, count -> {
            Events.record(Events.Type.INTERRUPT_RELAYED, number, count);
            signalled();
        });
    }

    final EventFd event() {
        return event;
    }

    abstract void signalled();

    /** Called when the last hold ends. */
    void resuming() {}

    /** Leaves signals in the eventfd until {@link #release} has ended each hold, even one that threw. */
    final void hold() {
        holds++;
        if (holds == 1) {
            registration.beginPause();
        }
    }

    /** Ends a {@link #hold}. Signals that arrived during it become one interrupt. If this throws, the hold stays. */
    final void release() {
        if (holds == 1) {
            resuming();
            registration.resume();
        }
        holds = Math.max(0, holds - 1);
    }

    /** Like {@link #settle}, but does not wait for another thread's running injection. Call it during a hold. */
    void beginSettle() {}

    /** Waits for running injections. Call it during a hold. When it returns, no more signals are injected. */
    void settle() {
        registration.awaitHandler();
    }

    /**
     * Stops reading the eventfd, so that an irqfd or another relay can read it. Call it after {@link #settle}, during
     * the hold. Never fails.
     */
    final void leave() {
        registration.close();
    }

    /** Leaves later signals in the eventfd. When it returns, no more signals are injected. Idempotent, never fails. */
    @Override
    public void close() {
        registration.close();
    }
}
