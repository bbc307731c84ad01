/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import java.util.Optional;

/**
 * How a scenario ended.
 *
 * @param sent interrupts raised that had to arrive
 * @param answered of these, how many the guest (or, without one, the LAPIC) took
 * @param latency of a round trip, where it was measured
 * @param failure what was found wrong; absent when it passed or was skipped
 * @param skipped why it cannot be shown here; absent when it ran
 */
public record Result(
        Scenario scenario,
        long sent,
        long answered,
        Optional<Latency> latency,
        Optional<String> failure,
        Optional<String> skipped) {
    static Result skipped(Scenario scenario, String why) {
        return new Result(scenario, 0, 0, Optional.empty(), Optional.empty(), Optional.of(why));
    }

    public boolean passed() {
        return failure.isEmpty() && skipped.isEmpty();
    }

    public long lost() {
        return sent - answered;
    }

    /** Round trips in nanoseconds: extremes and percentiles. */
    public record Latency(long min, long p50, long p90, long p99, long max) {}
}
