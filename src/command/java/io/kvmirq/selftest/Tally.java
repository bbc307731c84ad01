/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.HdrHistogram.Histogram;
import org.HdrHistogram.HistogramIterationValue;

/** The counts and round trip times of a scenario. For one thread. */
final class Tally {
    private static final long HIGHEST_NANOS = 60_000_000_000L;
    private static final int SIGNIFICANT_DIGITS = 3;
    private static final int BARS = 8;

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
                histogram.getMaxValue(),
                bars()));
    }

    /** Of equal widths up to the percentile 99, and one for what is slower. */
    private List<Result.Bar> bars() {
        long fastest = histogram.getMinValue();
        long width = Math.max(1, (histogram.getValueAtPercentile(99) - fastest) / BARS + 1);
        long[] counts = new long[BARS + 1];
        for (HistogramIterationValue value : histogram.recordedValues()) {
            long bar = Math.min(BARS, (value.getValueIteratedTo() - fastest) / width);
            counts[(int) Math.max(0, bar)] += value.getCountAddedInThisIterationStep();
        }
        List<Result.Bar> bars = new ArrayList<>();
        for (int i = 0; i < BARS; i++) {
            bars.add(new Result.Bar(fastest + (i + 1) * width, counts[i]));
        }
        if (counts[BARS] > 0) {
            bars.add(new Result.Bar(histogram.getMaxValue() + 1, counts[BARS]));
        }
        return bars;
    }
}
