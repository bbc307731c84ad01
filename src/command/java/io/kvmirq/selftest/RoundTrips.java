/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import java.util.Optional;
import org.HdrHistogram.Histogram;

/** The counts and round trip times of a scenario. For one thread. */
final class RoundTrips {
    private static final long HIGHEST_NANOS = 60_000_000_000L;
    private static final int SIGNIFICANT_DIGITS = 3;

    private final Histogram histogram = new Histogram(HIGHEST_NANOS, SIGNIFICANT_DIGITS);
    private long sent;
    private long answered;

    void count(Device device) {
        sent += device.sent();
        answered += device.answered();
    }

    void count(long moreSent, long moreAnswered) {
        sent += moreSent;
        answered += moreAnswered;
    }

    /** Allocates nothing. */
    void time(long nanos) {
        histogram.recordValue(Math.min(nanos, HIGHEST_NANOS));
    }

    long sent() {
        return sent;
    }

    long answered() {
        return answered;
    }

    void requireNothingLost() {
        if (answered != sent) {
            throw new SelftestFailedException("sent " + sent + " interrupts, " + answered + " arrived");
        }
    }

    Optional<Result.Latency> latency() {
        if (histogram.getTotalCount() == 0) {
            return Optional.empty();
        }
        return Optional.of(new Result.Latency(
                histogram.getMinValue(),
                histogram.getValueAtPercentile(50),
                histogram.getValueAtPercentile(90),
                histogram.getValueAtPercentile(99),
                histogram.getMaxValue()));
    }
}
