/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import java.util.Locale;

/** Amounts as people read them. */
final class Units {
    private static final String[] TIMES = {"ns", "µs", "ms", "s"};
    private static final double THOUSAND = 1000;

    /** Instead of a number, where a side took no time that the clock sees. */
    static final String NOT_MEASURED = "not measurable";

    /** Of a double. */
    private static final int MOST_PLACES = 17;

    private Units() {}

    /** Whether it is a number. */
    static boolean isMeasured(double value) {
        return Double.isFinite(value);
    }

    /** Nanoseconds in the largest unit that leaves a number above 1; any other unit as it is. */
    static String text(double amount, String unit) {
        return text(amount, Double.NaN, unit);
    }

    /** @param beside another amount, from which this one is to be told if it differs; not a number for none */
    static String text(double amount, double beside, String unit) {
        double scale = 1;
        int steps = 0;
        while (unit.equals(TIMES[0]) && Math.abs(amount / scale) >= THOUSAND && steps < TIMES.length - 1) {
            scale *= THOUSAND;
            steps++;
        }
        String name = unit.equals(TIMES[0]) ? TIMES[steps] : unit;
        double scaled = Math.abs(amount / scale);
        return number(amount / scale, beside / scale, scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2) + " " + name;
    }

    /**
     * A number.
     *
     * @param beside another number, from which this one is to be told if it differs; not a number for none
     * @param places behind the point, if these are enough
     */
    static String number(double value, double beside, int places) {
        int enough = places;
        while (enough < MOST_PLACES && rounded(value, enough).equals(rounded(beside, enough))) {
            enough++;
        }
        return rounded(value, enough);
    }

    private static String rounded(double value, int places) {
        return isMeasured(value) ? String.format(Locale.ROOT, "%." + places + "f", value) : NOT_MEASURED;
    }
}
