/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.math.BigInteger;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** How many orders there are. */
final class InterleavingsCount {
    private final List<Integer> steps;
    private final int most;
    private final int groups;
    private final Map<List<Integer>, BigInteger> known = new HashMap<>();

    private InterleavingsCount(List<Integer> steps, int preemptions) {
        this.steps = steps;
        this.most =
                Math.min(preemptions, steps.stream().mapToInt(Integer::intValue).sum());
        this.groups = steps.size() + most;
    }

    /**
     * The orders of actors with so many steps, none of which waits, that have at most {@code preemptions}.
     *
     * <p>An order is a sequence of blocks, each of one actor and none beside another of the same actor. All blocks but
     * the last of each actor end with a preemption. An actor of {@code a} steps has {@code C(a - 1, b - 1)} ways to
     * have {@code b} blocks. To keep its blocks apart, inclusion and exclusion joins them to {@code j} groups in {@code
     * C(b - 1, j - 1)} ways; groups of all actors are arranged freely.
     */
    static BigInteger orders(List<Integer> steps, int preemptions) {
        return new InterleavingsCount(steps, preemptions).orders();
    }

    private BigInteger orders() {
        // By groups and preemptions of the actors so far
        BigInteger[][] ways = zeros();
        ways[0][0] = BigInteger.ONE;
        for (int count : steps) {
            BigInteger[][] next = zeros();
            for (int before = 0; before <= groups; before++) {
                for (int used = 0; used <= most; used++) {
                    if (ways[before][used].signum() != 0) {
                        add(ways[before][used], before, used, count, next);
                    }
                }
            }
            ways = next;
        }
        return Arrays.stream(ways).flatMap(Arrays::stream).reduce(BigInteger.ZERO, BigInteger::add);
    }

    /** Adds an actor to those that have so many ways. */
    private void add(BigInteger ways, int before, int used, int steps, BigInteger[][] next) {
        for (int blocks = 1; blocks <= steps && used + blocks - 1 <= most; blocks++) {
            BigInteger cut = ways.multiply(choose(steps - 1, blocks - 1));
            for (int joined = 1; joined <= blocks; joined++) {
                BigInteger arranged =
                        cut.multiply(choose(blocks - 1, joined - 1)).multiply(choose(before + joined, joined));
                next[before + joined][used + blocks - 1] = next[before + joined][used + blocks - 1].add(
                        (blocks - joined) % 2 == 0 ? arranged : arranged.negate());
            }
        }
    }

    private BigInteger[][] zeros() {
        BigInteger[][] zeros = new BigInteger[groups + 1][most + 1];
        for (BigInteger[] row : zeros) {
            Arrays.fill(row, BigInteger.ZERO);
        }
        return zeros;
    }

    private BigInteger choose(int of, int some) {
        return known.computeIfAbsent(List.of(of, some), any -> {
            BigInteger ways = BigInteger.ONE;
            for (int i = 1; i <= some; i++) {
                ways = ways.multiply(BigInteger.valueOf(of - some + i)).divide(BigInteger.valueOf(i));
            }
            return ways;
        });
    }
}
