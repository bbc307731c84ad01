/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class RoundsTest {
    private enum Op {
        FIRST,
        SECOND
    }

    private static final int TIMES = 31;

    /** Rounds of which the last third is twice as slow, as where another program runs: the ratio does not see it. */
    private static Rounds bimodal() {
        double[] ours = new double[TIMES];
        double[] theirs = new double[TIMES];
        for (int i = 0; i < TIMES; i++) {
            double slow = i < 20 ? 1 : 2;
            theirs[i] = (100 + i) * slow;
            ours[i] = theirs[i] * (1.1 + (i % 3 - 1) * 0.01);
        }
        return new Rounds(ours, theirs);
    }

    @Test
    void sidesAreComparedWithinARound() {
        Row row = new Row("b", "o", "", "ns", Goal.atMost(1.05), bimodal());
        assertThat(row.ratio()).isCloseTo(1.10, within(1e-9));
        assertThat(row.ratio(10)).isCloseTo(1.09, within(1e-9));
        assertThat(row.ratio(90)).isCloseTo(1.11, within(1e-9));
        assertThat(row.rounds().spread()).isCloseTo(1.11 / 1.09, within(1e-9));
        assertThat(row.ratioOfTenths())
                .isCloseTo(row.rounds().ours(10) / row.rounds().theirs(10), within(1e-9));
        assertThat(row.rounds().theirs(10)).isEqualTo(103);
        assertThat(row.rounds().theirs(50)).isEqualTo(115);
    }

    @Test
    void referenceThatVariesIsNotCalm() {
        assertThat(bimodal().isCalm()).isFalse();
        assertThat(new Rounds(new double[] {1, 2, 9}, new double[] {10, 14, 15}).isCalm())
                .isTrue();
    }

    @Test
    void withoutAReferenceOursIsToBeCalm() {
        Rounds steady = new Rounds(new double[] {10, 11, 12}, new double[3]);
        Rounds wild = new Rounds(new double[] {10, 20, 40}, new double[3]);
        assertThat(steady.hasReference()).isFalse();
        assertThat(steady.isCalm()).isTrue();
        assertThat(wild.isCalm()).isFalse();
        assertThat(wild.spread()).isEqualTo(2);
    }

    @Test
    void sidesTakeTurnsToComeFirst() {
        List<String> calls = new ArrayList<>();
        Rounds.of(
                Op.values(),
                2,
                op -> {
                    calls.add("ours " + op);
                    return 1;
                },
                op -> {
                    calls.add("theirs " + op);
                    return 1;
                });
        assertThat(calls)
                .containsExactly(
                        "ours FIRST",
                        "theirs FIRST",
                        "ours SECOND",
                        "theirs SECOND",
                        "theirs SECOND",
                        "ours SECOND",
                        "theirs FIRST",
                        "ours FIRST");
    }

    @Test
    void operationThatWasNotCalmIsTimedOnceMore() {
        int[] calls = new int[2];
        double[] noise = {1, 9, 1, 9, 1, 9, 1, 1, 1, 1, 1, 1};
        Map<Op, Rounds> all = Rounds.calm(Op.values(), 6, op -> 1, op -> {
            int call = calls[op.ordinal()]++;
            return op == Op.FIRST ? 1 : noise[call];
        });
        assertThat(calls).containsExactly(6, 12);
        assertThat(all.get(Op.SECOND).isCalm()).isTrue();
        assertThat(all.get(Op.FIRST).isCalm()).isTrue();
    }

    @Test
    void operationThatStaysRestlessIsTimedTwiceOnly() {
        int[] calls = new int[1];
        Op[] one = {Op.FIRST};
        Map<Op, Rounds> all = Rounds.calm(one, 6, op -> 1, op -> 1 + 9 * (calls[0]++ % 2));
        assertThat(calls).containsExactly(12);
        assertThat(all.get(Op.FIRST).isCalm()).isFalse();
    }

    @Test
    void roundHasBothSides() {
        assertThatThrownBy(() -> new Rounds(new double[2], new double[1]))
                .hasMessage("2 and 1 samples: expected as many, at least one");
        assertThatThrownBy(() -> new Rounds(new double[0], new double[0])).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void rowIsReadAsItWasWritten() {
        for (Goal goal : List.of(Goal.atMost(1.05), Goal.faster(150), Goal.adds(120), Goal.none())) {
            Row row = new Row("calls", "jni / C: \"write\" | <b>", "JDK 17", "ns", goal, bimodal());
            Row read = Row.ofJson(row.toJson());
            assertThat(read.name()).isEqualTo("calls: jni / C: \"write\" | <b>, JDK 17");
            assertThat(read.goal()).isEqualTo(goal);
            assertThat(read.unit()).isEqualTo("ns");
            assertThat(Arrays.equals(read.rounds().ours(), row.rounds().ours())).isTrue();
            assertThat(Arrays.equals(read.rounds().theirs(), row.rounds().theirs()))
                    .isTrue();
        }
        assertThatThrownBy(() -> Row.ofJson("{\"bench\":\"calls\"}")).hasMessageContaining("no row of a benchmark");
        assertThatThrownBy(() -> Row.ofJson("calls")).hasMessageContaining("no row of a benchmark");
    }

    /** All kinds of goals are met by a ratio that is not above the bound. */
    @Test
    void goalsHaveOneForm() {
        assertThat(Goal.atMost(1.05).isMetBy(1.05)).isTrue();
        assertThat(Goal.atMost(1.05).isMetBy(1.06)).isFalse();

        assertThat(Goal.faster(4).ratio(1, 5)).isEqualTo(0.2);
        assertThat(Goal.faster(4).bound()).isEqualTo(0.25);
        assertThat(Goal.faster(4).isMetBy(Goal.faster(4).ratio(1, 5))).isTrue();
        assertThat(Goal.faster(4).isMetBy(Goal.faster(4).ratio(1, 3))).isFalse();

        assertThat(Goal.adds(120).ratio(360, 300)).isEqualTo(0.5);
        assertThat(Goal.adds(120).isMetBy(Goal.adds(120).ratio(420, 300))).isTrue();
        assertThat(Goal.adds(120).isMetBy(Goal.adds(120).ratio(421, 300))).isFalse();

        assertThat(Goal.none().isMetBy(1000)).isTrue();
    }

    /** However narrow it is. */
    @Test
    void missHasTheDigitsThatShowIt() {
        assertThat(Goal.faster(9).text(1 / 8.996, "ns")).isEqualTo("8.996× faster");
        assertThat(Goal.faster(10).text(1 / 9.99996, "ns")).isEqualTo("9.99996× faster");
        assertThat(Goal.faster(150).text(1 / 149.9, "ns")).isEqualTo("149.9× faster");
        assertThat(Goal.faster(9).text(1 / 9.001, "ns")).isEqualTo("9.00× faster");
        assertThat(Goal.adds(300).text(300.4 / 300, "ns")).isEqualTo("+300.4 ns");
        assertThat(Goal.adds(300).text(299.9 / 300, "ns")).isEqualTo("+300 ns");
        assertThat(Goal.adds(5e6).text(5_000_100 / 5e6, "ns")).isEqualTo("+5.0001 ms");
        assertThat(Goal.adds(999.9).text(1000.1 / 999.9, "ns")).isEqualTo("+1.0001 µs");
        assertThat(Goal.atMost(1.1).text(Math.nextUp(1.1), "ns")).isEqualTo("1.1000000000000003");
    }

    /** Of a side that took no time. */
    @Test
    void ratioIsNeverInfinite() {
        for (Goal goal : List.of(Goal.atMost(1), Goal.faster(3), Goal.adds(0), Goal.adds(300), Goal.none())) {
            for (double[] sides : new double[][] {{0, 0}, {0, 100}, {100, 0}}) {
                String text = goal.text(goal.ratio(sides[0], sides[1]), "ns");
                assertThat(text)
                        .doesNotContain("Infinity", "NaN")
                        .matches("not measurable|[+-]*[\\d.]+( ns|× faster|)");
            }
        }
        assertThat(Goal.faster(3).text(0, "ns")).isEqualTo("not measurable");
    }

    @Test
    void goalsAreReadInTheirOwnWords() {
        assertThat(Goal.atMost(1.05).text("ns")).isEqualTo("≤ 1.05");
        assertThat(Goal.atMost(1.05).text(1.053, "ns"))
                .as("missed by less than is shown otherwise")
                .isEqualTo("1.053");
        assertThat(Goal.atMost(1.1).text(1.10004, "ns")).isEqualTo("1.10004");
        assertThat(Goal.atMost(1.1).text(1.0999, "ns")).isEqualTo("1.10");
        assertThat(Goal.atMost(0.25).text(0.631, "ns")).isEqualTo("0.63");
        assertThat(Goal.faster(150).text("ns")).isEqualTo("≥ 150× faster");
        assertThat(Goal.faster(150).text(1 / 162.4, "ns")).isEqualTo("162× faster");
        assertThat(Goal.adds(5e6).text("ns")).isEqualTo("≤ +5.00 ms");
        assertThat(Goal.adds(120).text(0.7, "ns")).isEqualTo("+84.0 ns");
        assertThat(Goal.adds(512).text(0.5, "bytes")).isEqualTo("+256 bytes");
        assertThat(Goal.none().text("ns")).isEqualTo("none");
    }
}
