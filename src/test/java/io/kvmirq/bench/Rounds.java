/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import java.util.Arrays;
import java.util.EnumMap;
import java.util.Map;
import java.util.function.DoubleBinaryOperator;
import java.util.function.ToDoubleFunction;

/**
 * The cost of an operation of ours and of a reference, side by side in each round. All statistics of benchmarks are here.
 *
 * <p>A round as a whole may be 1.6 times slower than the next, so the sides are compared within a round, and the median of
 * the rounds counts.
 *
 * @param ours one for each round
 * @param theirs as many; all 0 if there is no reference
 */
public record Rounds(double[] ours, double[] theirs) {
    /** A reference that varies more than this among rounds says that something else ran here. */
    private static final double CALM = 1.5;

    public Rounds {
        if (ours.length == 0 || ours.length != theirs.length) {
            throw new IllegalArgumentException(
                    ours.length + " and " + theirs.length + " samples: expected as many, at least one");
        }
    }

    /**
     * Times each operation so many times, one batch of each side; who comes first changes from round to round.
     *
     * @param operations at least one
     */
    public static <O extends Enum<O>> Map<O, Rounds> of(
            O[] operations, int times, ToDoubleFunction<O> ours, ToDoubleFunction<O> theirs) {
        Map<O, Rounds> all = new EnumMap<>(operations[0].getDeclaringClass());
        for (O operation : operations) {
            all.put(operation, new Rounds(new double[times], new double[times]));
        }
        for (int turn = 0; turn < times; turn++) {
            for (int i = 0; i < operations.length; i++) {
                O operation = operations[(turn + i) % operations.length];
                all.get(operation).time(turn, operation, ours, theirs);
            }
        }
        return all;
    }

    /** As {@link #of}, and operations whose reference was not calm once more. */
    static <O extends Enum<O>> Map<O, Rounds> calm(
            O[] operations, int times, ToDoubleFunction<O> ours, ToDoubleFunction<O> theirs) {
        Map<O, Rounds> all = of(operations, times, ours, theirs);
        O[] again = all.entrySet().stream()
                .filter(entry -> !entry.getValue().isCalm())
                .map(Map.Entry::getKey)
                .toArray(length -> Arrays.copyOf(operations, length));
        if (again.length > 0) {
            all.putAll(of(again, times, ours, theirs));
        }
        return all;
    }

    private <O> void time(int turn, O operation, ToDoubleFunction<O> first, ToDoubleFunction<O> second) {
        if (turn % 2 == 0) {
            ours[turn] = first.applyAsDouble(operation);
        }
        theirs[turn] = second.applyAsDouble(operation);
        if (turn % 2 != 0) {
            ours[turn] = first.applyAsDouble(operation);
        }
    }

    public boolean hasReference() {
        return Arrays.stream(theirs).anyMatch(each -> each != 0);
    }

    /** Whether nothing else seems to have run meanwhile. */
    public boolean isCalm() {
        return percentile(reference(), 90) / percentile(reference(), 10) <= CALM;
    }

    private double[] reference() {
        return hasReference() ? theirs : ours;
    }

    /** How much the rounds differ: the 90th percentile of their ratios over the 10th; of ours if there is no reference. */
    public double spread() {
        double[] each = hasReference() ? joined((our, their) -> our / their) : ours;
        return percentile(each, 90) / percentile(each, 10);
    }

    public double ours(int percentile) {
        return percentile(ours, percentile);
    }

    public double theirs(int percentile) {
        return percentile(theirs, percentile);
    }

    /** A percentile, over the rounds, of what the function makes of ours and theirs. */
    double percentile(DoubleBinaryOperator function, int percentile) {
        return percentile(joined(function), percentile);
    }

    private double[] joined(DoubleBinaryOperator function) {
        double[] each = new double[ours.length];
        Arrays.setAll(each, i -> function.applyAsDouble(ours[i], theirs[i]));
        return each;
    }

    private static double percentile(double[] samples, int percentile) {
        double[] sorted = samples.clone();
        Arrays.sort(sorted);
        return sorted[(sorted.length - 1) * percentile / 100];
    }
}
