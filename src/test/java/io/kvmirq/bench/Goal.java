/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

/**
 * The most that an operation of ours may cost, beside a reference or as an amount.
 *
 * <p>{@link #ratio} and {@link #bound} bring all kinds into one form: the goal is met if the ratio is not above the bound.
 */
public record Goal(Kind kind, double limit) {
    /** The meaning of the limit. */
    public enum Kind {
        /** Ours over theirs. */
        RATIO,
        /** Theirs over ours. */
        TIMES_FASTER,
        /** What ours adds to theirs, in the unit of the row; a reference of 0 makes it all of ours. */
        ADDED,
        /** No goal: the row only informs. */
        NONE
    }

    /** Ours costs at most so much of theirs. */
    public static Goal atMost(double ratio) {
        return new Goal(Kind.RATIO, ratio);
    }

    /** Theirs costs at least so much of ours. */
    public static Goal faster(double times) {
        return new Goal(Kind.TIMES_FASTER, times);
    }

    /** Ours costs at most so much more than theirs. */
    public static Goal adds(double amount) {
        return new Goal(Kind.ADDED, amount);
    }

    public static Goal none() {
        return new Goal(Kind.NONE, Double.NaN);
    }

    /** Ours over theirs, or for {@link Kind#ADDED} the part of the limit that is used. */
    double ratio(double ours, double theirs) {
        return kind == Kind.ADDED ? (ours - theirs) / limit : ours / theirs;
    }

    /** The greatest ratio that meets the goal; not a number without a goal. */
    double bound() {
        return switch (kind) {
            case RATIO, NONE -> limit;
            case TIMES_FASTER -> 1 / limit;
            case ADDED -> 1;
        };
    }

    boolean isMetBy(double ratio) {
        return kind == Kind.NONE || ratio <= bound();
    }

    /** A ratio as people compare it with the goal. A miss has as many digits as show it. */
    String text(double ratio, String unit) {
        boolean missed = !isMetBy(ratio);
        double value =
                switch (kind) {
                    case RATIO, NONE -> ratio;
                    case TIMES_FASTER -> 1 / ratio;
                    case ADDED -> ratio * limit;
                };
        return Units.isMeasured(value) ? text(value, missed ? limit : Double.NaN, unit) : Units.NOT_MEASURED;
    }

    private String text(double value, double beside, String unit) {
        return switch (kind) {
            case RATIO, NONE -> Units.number(value, beside, places(value));
            case TIMES_FASTER -> Units.number(value, beside, places(value)) + "× faster";
            case ADDED -> "+" + Units.text(value, beside, unit);
        };
    }

    String text(String unit) {
        return switch (kind) {
            case RATIO, ADDED -> "≤ " + text(limit, Double.NaN, unit);
            case TIMES_FASTER -> "≥ " + text(limit, Double.NaN, unit);
            case NONE -> "none";
        };
    }

    /** Two places behind the point, four if it begins so, none of large numbers. */
    private static int places(double value) {
        return value >= 100 ? 0 : value >= 10 ? 1 : value >= 0.2 ? 2 : 4;
    }
}
