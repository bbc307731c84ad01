/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import java.util.Optional;

/**
 * The result of a scenario.
 *
 * @param sent the number of interrupts that should arrive
 * @param answered how many of them the guest handled; without a guest, how many were pending in the LAPIC
 *     or the VGIC
 * @param latency of a round trip; empty if the scenario does not measure it
 * @param failure what is wrong; empty if the scenario passed or was skipped
 * @param skipped why this machine cannot run the scenario; empty if it ran
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

    /** Round trip times in nanoseconds: extremes and percentiles. */
    public record Latency(long min, long p50, long p90, long p99, long max) {}
}
