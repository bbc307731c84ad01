/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.kernel.EventFd;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;

/**
 * The time after which an interrupt counts as lost.
 *
 * @param over nobody waits for an interrupt any longer once this holds
 */
record Patience(Duration time, BooleanSupplier over) {
    static final Patience USUAL = new Patience(Duration.ofSeconds(5), () -> false);

    private static final long POLL_NANOS = 20_000;
    /** The interval at which a wait for an eventfd asks whether it is over. */
    private static final long LOOK_NANOS = TimeUnit.MILLISECONDS.toNanos(50);

    /** Waits until there is something to drain or the time is over. Allocates nothing. */
    boolean await(EventFd eventfd) {
        long left = time.toNanos();
        while (!eventfd.awaitNanos(Math.min(left, LOOK_NANOS))) {
            left -= LOOK_NANOS;
            if (left <= 0 || over.getAsBoolean()) {
                return false;
            }
        }
        return true;
    }

    /** Polls a condition until it holds or the time is over. A kernel worker may make it true without an event. */
    boolean eventually(BooleanSupplier holds) {
        long start = System.nanoTime();
        while (!holds.getAsBoolean()) {
            if (System.nanoTime() - start > time.toNanos() || over.getAsBoolean()) {
                return false;
            }
            LockSupport.parkNanos(POLL_NANOS);
        }
        return true;
    }
}
