/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Registration;

/**
 * An eventfd whose signals are injected by this process. It leases the eventfd. No lock is held while the injector runs:
 * {@link #hold} and {@link #release} need one of the caller's, and neither inject nor wait; {@link #settle} and {@link
 * #close} do both, and are called without.
 */
abstract sealed class RelayedIrq implements AutoCloseable permits RelayedEdge, RelayedLine {
    private final EventFd event;
    private final Registration registration;
    /** Reasons to hold signals back: at first that nobody released it. */
    private int holds = 1;

    RelayedIrq(Userspace userspace, EventFd event) {
        this.event = event;
        this.registration = userspace.loop().registerPaused(event, count -> signalled());
    }

    final EventFd event() {
        return event;
    }

    abstract void signalled();

    /** Signals are let through again now. */
    void resuming() {}

    /** Leaves signals in the eventfd from now on, until a {@link #release} for each hold, also for one that throws. */
    final void hold() {
        holds++;
        if (holds == 1) {
            registration.beginPause();
        }
    }

    /** Ends a {@link #hold}; signals that came meanwhile are injected once. If it throws, the hold stays. */
    final void release() {
        if (holds == 1) {
            resuming();
            registration.resume();
        }
        holds = Math.max(0, holds - 1);
    }

    /** After {@link #hold}: as {@link #settle}, without waiting for an injection under way in another thread. */
    void beginSettle() {}

    /** After {@link #hold}: when it returns nothing more is injected. */
    void settle() {
        registration.awaitHandler();
    }

    /** After {@link #settle}, with the hold: another relay may take the eventfd. No handler runs then. Never fails. */
    final void leave() {
        registration.close();
    }

    /**
     * Signals from then on stay in the eventfd. When it returns nothing more is injected. Idempotent, never fails.
     */
    @Override
    public void close() {
        registration.close();
    }
}
