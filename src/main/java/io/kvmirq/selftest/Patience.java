/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import java.time.Duration;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;

/** The time after which an interrupt counts as lost. */
record Patience(Duration time) {
    static final Patience USUAL = new Patience(Duration.ofSeconds(5));

    private static final long POLL_NANOS = 20_000;

    /** Polls a condition until it holds or the time is over. A kernel worker may make it true without an event. */
    boolean eventually(BooleanSupplier holds) {
        long start = System.nanoTime();
        while (!holds.getAsBoolean()) {
            if (System.nanoTime() - start > time.toNanos()) {
                return false;
            }
            LockSupport.parkNanos(POLL_NANOS);
        }
        return true;
    }
}
