/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/** A priority waiter of an eventfd, which an irqfd is. */
public interface EventWaiter {
    /** The eventfd was signalled, and the signal was subtracted from the count. */
    void raise();

    /** The waiter was added to an eventfd that was signalled already. */
    void raiseLate();

    /** A worker injects the interrupt. */
    void inject();

    /** A worker removes the irqfd because its eventfd was released. */
    void shutDown();
}
