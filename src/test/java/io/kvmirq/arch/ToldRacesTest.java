/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.arch.intx.model.IntxScenario;
import io.kvmirq.arch.intx.model.IntxVariant;
import io.kvmirq.arch.vtd.posting.PostedScenario;
import io.kvmirq.arch.vtd.posting.PostedVariant;
import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Scenario;
import io.kvmirq.explorer.Variant;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class ToldRacesTest {
    private static Stream<ToldRaces.Race<?, ?>> races() {
        return ToldRaces.ALL.stream();
    }

    @ParameterizedTest
    @MethodSource("races")
    <V extends Enum<V> & Variant<S>, S extends Enum<S> & Scenario<V>> void oneFormLosesWhereTheRepairKeeps(
            ToldRaces.Race<V, S> race) {
        S scenario = race.losing().scenario();
        assertThat(race.verdicts().expected(race.losing().variant()).get(scenario))
                .startsWith("L");
        assertThat(race.verdicts().expected(race.kept()).get(scenario)).matches("\\.+");
    }

    /** The words are those of the threads: which of the other forms lose, and which only wait. */
    @Tag("search")
    @ParameterizedTest
    @CsvSource({
        "lost-interrupt-2019, 'waits, keeps, keeps, loses, loses, keeps'",
        "ir-list-2016, 'loses, loses, loses, loses, keeps'",
        "intx-starvation, 'loses, loses, keeps'",
        "intx-exclusive, ''",
        "vgic-late-maintenance, 'keeps, loses, keeps, loses, waits, loses, keeps'",
    })
    void tellsTheLossItsAbsenceAndTheOtherForms(String name, String others) {
        String told = ToldRaces.tell(name);
        assertThat(told).startsWith(name + "\n\n").contains("\nLoses:\n", "\nKeeps:\n", " 0 losing\n");
        assertThat(String.join(
                        ", ",
                        told.lines()
                                .filter(line -> line.matches("  (loses|waits|keeps)  .*"))
                                .map(line -> line.strip().substring(0, 5))
                                .toList()))
                .isEqualTo(others);
    }

    /** The accesses of the order that the thread of 2019 tells. */
    @Test
    void vcpuThatIsPreemptedLosesARequestWithoutOn() {
        Exploration found = PostedScenario.DEVICE.explore(PostedVariant.ON_ONLY, Memory.SEQUENTIAL);
        List<String> accesses = found.order().stream()
                .map(Exploration.Step::what)
                .filter(what -> what.contains("SN "))
                .toList();
        assertThat(accesses)
                .containsExactly(
                        "SN = 0x1",
                        "reads ON 0, SN 1",
                        "PIR = {0x31}, reads ON 0, SN 1, unchanged: ON 0, SN 1",
                        "SN = 0x0",
                        "reads ON 0, SN 0");
    }

    @Test
    void secondVmGetsNoExclusiveLine() {
        Exploration found = IntxScenario.ANOTHER_VM.explore(IntxVariant.EXCLUSIVE, Memory.SEQUENTIAL);
        assertThat(found.why()).isEqualTo("a VM has no INTx: its request for the line got EBUSY");
        assertThat(found.losing()).as("orders").isEqualTo(found.orders());
    }

    @Test
    void unknownRaceIsRefused() {
        assertThatThrownBy(() -> ToldRaces.tell("lost-interrupt-2016"))
                .hasMessage("race 'lost-interrupt-2016' is unknown: expected one of lost-interrupt-2019, ir-list-2016,"
                        + " intx-starvation, intx-exclusive, vgic-late-maintenance");
    }
}
