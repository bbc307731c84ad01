/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;

/** What an operation cost in Java and in C, side by side in each round, in nanoseconds. */
public final class Rounds {
    /** A C side that varies more than this among rounds says that something else ran here. */
    private static final double CALM = 1.5;

    private record Round(double java, double c) {
        private double ratio() {
            return java / c;
        }
    }

    private final List<Round> rounds = new ArrayList<>();

    private Rounds() {}

    /**
     * Times each operation so many times, one batch of each side; who comes first changes from round to round.
     *
     * @param operations at least one
     */
    public static <O extends Enum<O>> Map<O, Rounds> of(
            O[] operations, int times, ToDoubleFunction<O> java, ToDoubleFunction<O> c) {
        Map<O, Rounds> all = new EnumMap<>(operations[0].getDeclaringClass());
        for (int turn = 0; turn < times; turn++) {
            for (int i = 0; i < operations.length; i++) {
                O operation = operations[(turn + i) % operations.length];
                all.computeIfAbsent(operation, any -> new Rounds())
                        .rounds
                        .add(round(operation, turn % 2 == 0, java, c));
            }
        }
        return all;
    }

    private static <O> Round round(O operation, boolean javaFirst, ToDoubleFunction<O> java, ToDoubleFunction<O> c) {
        if (javaFirst) {
            double first = java.applyAsDouble(operation);
            return new Round(first, c.applyAsDouble(operation));
        }
        double first = c.applyAsDouble(operation);
        return new Round(java.applyAsDouble(operation), first);
    }

    /** Whether nothing else seems to have run meanwhile. */
    public boolean isCalm() {
        return spread() <= CALM;
    }

    /** The slowest tenth of C beside the quickest. */
    public double spread() {
        return c(90) / c(10);
    }

    public double java(int percentile) {
        return percentile(Round::java, percentile);
    }

    public double c(int percentile) {
        return percentile(Round::c, percentile);
    }

    /** The median of what Java cost beside C in the same round. */
    public double ratio() {
        return percentile(Round::ratio, 50);
    }

    private double percentile(ToDoubleFunction<Round> side, int percentile) {
        return rounds.stream().mapToDouble(side).sorted().toArray()[(rounds.size() - 1) * percentile / 100];
    }
}
