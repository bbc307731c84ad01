/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.math.BigInteger;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Counts the orders of a test without running them. */
final class InterleavingsCount {
    private final List<Integer> steps;
    private final int max;
    private final int groups;
    private final Map<List<Integer>, BigInteger> known = new HashMap<>();

    private InterleavingsCount(List<Integer> steps, int preemptions) {
        this.steps = steps;
        this.max =
                Math.min(preemptions, steps.stream().mapToInt(Integer::intValue).sum());
        this.groups = steps.size() + max;
    }

    /**
     * The number of orders with at most {@code preemptions}; {@code steps} are those of each actor, and none waits.
     *
     * <p>An order is a sequence of blocks of steps, and adjacent blocks belong to different actors. Each block ends
     * with a preemption, except the last of its actor. An actor of {@code a} steps has {@code C(a - 1, b - 1)} ways to
     * have {@code b} blocks. Inclusion-exclusion subtracts arrangements with adjacent blocks of one actor: {@code b}
     * blocks form {@code j} groups in {@code C(b - 1, j - 1)} ways, and the groups of all actors may be in any order.
     */
    static BigInteger orders(List<Integer> steps, int preemptions) {
        return new InterleavingsCount(steps, preemptions).orders();
    }

    private BigInteger orders() {
        // Indexed by the number of groups, then of preemptions, of the actors handled so far
        BigInteger[][] counts = zeros();
        counts[0][0] = BigInteger.ONE;
        for (int count : steps) {
            BigInteger[][] next = zeros();
            for (int before = 0; before <= groups; before++) {
                for (int used = 0; used <= max; used++) {
                    if (counts[before][used].signum() != 0) {
                        add(counts[before][used], before, used, count, next);
                    }
                }
            }
            counts = next;
        }
        return Arrays.stream(counts).flatMap(Arrays::stream).reduce(BigInteger.ZERO, BigInteger::add);
    }

    /** Adds an actor with {@code steps} steps to earlier actors that have {@code orders} orders. */
    private void add(BigInteger orders, int before, int used, int steps, BigInteger[][] next) {
        for (int blocks = 1; blocks <= steps && used + blocks - 1 <= max; blocks++) {
            BigInteger cut = orders.multiply(choose(steps - 1, blocks - 1));
            for (int joined = 1; joined <= blocks; joined++) {
                BigInteger arranged =
                        cut.multiply(choose(blocks - 1, joined - 1)).multiply(choose(before + joined, joined));
                next[before + joined][used + blocks - 1] = next[before + joined][used + blocks - 1].add(
                        (blocks - joined) % 2 == 0 ? arranged : arranged.negate());
            }
        }
    }

    private BigInteger[][] zeros() {
        BigInteger[][] zeros = new BigInteger[groups + 1][max + 1];
        for (BigInteger[] row : zeros) {
            Arrays.fill(row, BigInteger.ZERO);
        }
        return zeros;
    }

    private BigInteger choose(int of, int chosen) {
        return known.computeIfAbsent(List.of(of, chosen), key -> {
            BigInteger choices = BigInteger.ONE;
            for (int i = 1; i <= chosen; i++) {
                choices = choices.multiply(BigInteger.valueOf(of - chosen + i)).divide(BigInteger.valueOf(i));
            }
            return choices;
        });
    }
}
