/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import java.util.Locale;

/** Amounts as people read them. */
final class Units {
    private static final String[] TIMES = {"ns", "µs", "ms", "s"};
    private static final double THOUSAND = 1000;

    private Units() {}

    /** Nanoseconds in the largest unit that leaves a number above 1; any other unit as it is. */
    static String text(double amount, String unit) {
        int steps = 0;
        double scaled = amount;
        while (unit.equals(TIMES[0]) && Math.abs(scaled) >= THOUSAND && steps < TIMES.length - 1) {
            scaled /= THOUSAND;
            steps++;
        }
        String name = unit.equals(TIMES[0]) ? TIMES[steps] : unit;
        int places = Math.abs(scaled) >= 100 ? 0 : Math.abs(scaled) >= 10 ? 1 : 2;
        return String.format(Locale.ROOT, "%." + places + "f %s", scaled, name);
    }
}
