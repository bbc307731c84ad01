/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/** A priority waiter of an eventfd, such as an irqfd. */
public interface EventWaiter {
    /** Called after a signal of the eventfd, when the kernel has subtracted the signal from the count. */
    void raise();

    /** Called when the waiter is added to an eventfd that was signalled already. */
    void raiseLate();

    /** Called by a worker to inject the interrupt. */
    void inject();

    /** Called by a worker to remove the irqfd because its eventfd was released. */
    void shutDown();
}
