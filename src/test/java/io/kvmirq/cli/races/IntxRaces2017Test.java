/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The two races of lines that devices share: what is told is what the model does. */
class IntxRaces2017Test {
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void onlyDirectEoiStarves(boolean direct) {
        IntxStarvation2017.Side side = new IntxStarvation2017.Side(direct);
        IntxStarvation2017.steps().forEach(step -> step.on(side));
        assertThat(side.isStarved()).isEqualTo(direct);
        assertThat(side.state()).endsWith(direct ? "   0  " : "1000  ");
    }

    /** B is served once for each EOI of A. */
    @ParameterizedTest
    @CsvSource({"0, 0", "1, 1000", "10, 100", "100, 10", "1000, 1"})
    void directEoiServesAsOftenAsTheOtherVmEnds(int every, int served) {
        assertThat(new IntxStarvation2017.Side(true).play(every)).isEqualTo(served);
        assertThat(new IntxStarvation2017.Side(false).play(every)).isEqualTo(IntxStarvation2017.ROUNDS);
    }

    private static List<String> play(IntxExclusive2017.Side side, IntxExclusive2017.Conflict conflict) {
        return conflict.steps().stream().map(step -> step.on(side)).toList();
    }

    @Test
    void eachConflictFailsWithAnExclusiveLineOnly() {
        List<IntxExclusive2017.Conflict> conflicts = IntxExclusive2017.conflicts();
        assertThat(conflicts).hasSize(3);
        for (IntxExclusive2017.Conflict conflict : conflicts) {
            for (boolean exclusive : new boolean[] {false, true}) {
                IntxExclusive2017.Side side = new IntxExclusive2017.Side(conflict, exclusive);
                List<String> seen = play(side, conflict);
                assertThat(seen.get(seen.size() - 1)).isEqualTo(exclusive ? "EBUSY" : "granted");
                assertThat(side.served()).as(conflict.what()).isEqualTo(conflict.devices() - (exclusive ? 1 : 0));
            }
        }
        assertThat(conflicts).extracting(IntxExclusive2017.Conflict::devices).containsExactly(1, 1, 2);
    }

    /** A VM that falls back alone gets EBUSY while the other has the line exclusively. */
    @Test
    void fallbackHelpsWhenBothVmsShare() {
        IntxExclusive2017.Conflict fallback = IntxExclusive2017.fallback();
        IntxExclusive2017.Side exclusive = new IntxExclusive2017.Side(fallback, true);
        assertThat(play(exclusive, fallback)).containsExactly("granted", "EBUSY", "EBUSY", "granted", "granted");
        assertThat(exclusive.served()).isEqualTo(2);
        IntxExclusive2017.Side shared = new IntxExclusive2017.Side(fallback, false);
        assertThat(play(shared, fallback))
                .containsExactly("granted", "granted", "has the line", "granted", "has the line");
        assertThat(shared.served()).isEqualTo(2);
    }

    @Test
    void summariesFitALine() {
        assertThat(List.of(IntxStarvation2017.race(), IntxExclusive2017.race()))
                .allMatch(race -> race.summary().length() <= 110);
    }
}
