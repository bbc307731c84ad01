/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.kernel.EventFd;

/**
 * Imitates a device: it signals one eventfd to raise an interrupt and reads the guest's answer from another eventfd. It
 * counts both. For one thread. {@link #roundTrip} allocates nothing.
 */
final class Device {
    private final EventFd interrupt;
    private final EventFd answer;
    private final Patience patience;
    private long sent;
    private long answered;

    Device(EventFd interrupt, EventFd answer, Patience patience) {
        this.interrupt = interrupt;
        this.answer = answer;
        this.patience = patience;
    }

    /** Raises the interrupt and does not wait for the answer. */
    void raise() {
        interrupt.signal();
        sent++;
    }

    boolean awaitAnswer() {
        if (!patience.await(answer)) {
            return false;
        }
        answered += answer.drain();
        return true;
    }

    boolean roundTrip() {
        raise();
        return awaitAnswer();
    }

    long sent() {
        return sent;
    }

    long answered() {
        return answered;
    }
}
