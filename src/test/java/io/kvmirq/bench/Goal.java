/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import java.util.Locale;

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

    /** The goal, or a ratio as people compare it with the goal. */
    String text(double ratio, String unit) {
        return switch (kind) {
            case RATIO, NONE ->
                isMetBy(ratio) || !significant(ratio).equals(significant(limit))
                        ? significant(ratio)
                        : aboveLimit(ratio);
            case TIMES_FASTER -> significant(1 / ratio) + "× faster";
            case ADDED -> "+" + Units.text(ratio * limit, unit);
        };
    }

    /** With as many places as show that it is above the limit, up to 6. */
    private String aboveLimit(double ratio) {
        String text = significant(ratio);
        for (int places = 3; places <= 6 && Double.parseDouble(text) <= limit; places++) {
            text = String.format(Locale.ROOT, "%." + places + "f", ratio);
        }
        return text;
    }

    String text(String unit) {
        return switch (kind) {
            case RATIO -> "≤ " + text(bound(), unit);
            case TIMES_FASTER -> "≥ " + text(bound(), unit);
            case ADDED -> "≤ " + text(bound(), unit);
            case NONE -> "none";
        };
    }

    /** Two places behind the point, three if it begins so, none of large numbers. */
    private static String significant(double value) {
        int places = value >= 100 ? 0 : value >= 10 ? 1 : value >= 0.2 ? 2 : 4;
        return String.format(Locale.ROOT, "%." + places + "f", value);
    }
}
