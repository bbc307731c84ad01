/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/**
 * Decides whether tests still advance. A test that blocks for ever uses no processor time, and is stalled after
 * {@code limit}. A test that spins for ever is stalled after {@link #BUDGET} of processor time, or ten times the limit
 * if that is more. A busy machine makes both later, and no test that works is ended.
 */
final class Stall {
    /** Processor time of one test, with its child processes. */
    static final Duration BUDGET = Duration.ofMinutes(30);

    /** The background threads of idle JVMs use less than this part of one processor. */
    private static final long NOISE_PERCENT = 1;

    private final long limit;
    private final long budget;

    private long looked;
    private long used;
    private int event = -1;
    private long advanced;
    private long usedByTest;

    /** @param limit how long the tests may do nothing */
    Stall(Duration limit) {
        this.limit = limit.toNanos();
        budget = Math.max(BUDGET.toNanos(), 10 * this.limit);
    }

    /**
     * Looks once more.
     *
     * @param now nanoseconds of a clock
     * @param processor nanoseconds of processor time that the tests have used; less than before if a process has left
     *     the tree
     * @param events how many times a test has started or ended
     * @return why the tests are stalled, if they are
     */
    Optional<String> look(long now, long processor, int events) {
        long spent = Math.max(0, processor - used);
        boolean busy = spent * 100 >= (now - looked) * NOISE_PERCENT;
        used = processor;
        looked = now;
        if (events != event) {
            event = events;
            advanced = now;
            usedByTest = 0;
            return Optional.empty();
        }
        usedByTest += spent;
        if (usedByTest >= budget) {
            return Optional.of("used " + TimeUnit.NANOSECONDS.toMinutes(budget) + " min of processor time");
        }
        if (busy) {
            advanced = now;
        }
        return now - advanced >= limit
                ? Optional.of("neither started nor ended a test, and used less than " + NOISE_PERCENT
                        + " % of a processor, for " + TimeUnit.NANOSECONDS.toSeconds(now - advanced) + " s")
                : Optional.empty();
    }
}
