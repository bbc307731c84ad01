/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import static org.assertj.core.api.Assertions.assertThat;

import java.math.BigInteger;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The number of orders, against a plain count. */
class InterleavingsCountTest {
    /** Takes each step that is left, one after another. */
    static int counted(int[] left, int last, int preemptions) {
        if (preemptions < 0) {
            return 0;
        }
        int orders = Arrays.stream(left).sum() == 0 ? 1 : 0;
        for (int actor = 0; actor < left.length; actor++) {
            if (left[actor] > 0) {
                boolean preempts = last >= 0 && actor != last && left[last] > 0;
                left[actor]--;
                orders += counted(left, actor, preemptions - (preempts ? 1 : 0));
                left[actor]++;
            }
        }
        return orders;
    }

    static Stream<Arguments> programs() {
        return Stream.of(
                        List.of(1),
                        List.of(7),
                        List.of(1, 1),
                        List.of(2, 1),
                        List.of(3, 3),
                        List.of(1, 1, 1),
                        List.of(2, 3, 1),
                        List.of(4, 3, 2),
                        List.of(1, 2, 2, 2))
                .flatMap(steps -> Stream.of(0, 1, 2, 3, 100).map(most -> Arguments.of(steps, most)));
    }

    @ParameterizedTest
    @MethodSource("programs")
    void isThatOfAPlainCount(List<Integer> steps, int preemptions) {
        int[] left = steps.stream().mapToInt(Integer::intValue).toArray();
        assertThat(InterleavingsCount.orders(steps, preemptions))
                .isEqualTo(BigInteger.valueOf(counted(left, -1, preemptions)));
    }

    @Test
    void isKnownOfProgramsThatNobodyCanCount() {
        assertThat(InterleavingsCount.orders(List.of(20, 20), 100)).isEqualTo(new BigInteger("137846528820"));
    }
}
