/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.selftest;

import io.kvmirq.selftest.Result;
import java.util.List;
import java.util.Locale;

/** Round trip times as bars of text, in ASCII for every locale but the sign of the unit. */
final class HistogramText {
    private static final int WIDEST = 40;
    private static final double NANOS = 1000;

    private HistogramText() {}

    /** A line for each bar; the widest is of {@value #WIDEST} characters, and no bar of a time is empty. */
    static List<String> of(Result.Latency latency) {
        long most = latency.bars().stream().mapToLong(Result.Bar::count).max().orElse(1);
        return latency.bars().stream().map(bar -> line(bar, Math.max(1, most))).toList();
    }

    private static String line(Result.Bar bar, long most) {
        long width = bar.count() == 0 ? 0 : Math.max(1, Math.round((double) bar.count() * WIDEST / most));
        return String.format(
                Locale.ROOT,
                "below %10.1f µs  %-" + WIDEST + "s %d",
                bar.below() / NANOS,
                "#".repeat((int) width),
                bar.count());
    }
}
