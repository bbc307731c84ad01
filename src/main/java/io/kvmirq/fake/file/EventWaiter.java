/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/** A priority waiter of an eventfd: an irqfd. */
public interface EventWaiter {
    /** The eventfd was signalled, and the signal is taken from its count. */
    void raise();

    /** The eventfd was signalled before the waiter came. */
    void raiseLate();

    /** A worker injects. */
    void inject();

    /** A worker takes it down: its eventfd is gone. */
    void shutDown();
}
