/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/** A priority waiter of an eventfd: an irqfd. */
public interface EventWaiter {
    /** The eventfd was signalled; the signal has been taken from the count. */
    void raise();

    /** The waiter was added to an eventfd that had been signalled before. */
    void raiseLate();

    /** A worker injects the interrupt. */
    void inject();

    /** A worker removes the irqfd because its eventfd was released. */
    void shutDown();
}
