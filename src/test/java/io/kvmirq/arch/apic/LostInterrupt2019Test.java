/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Memory;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LostInterrupt2019Test {
    private static PiDescriptor loaded() {
        PiDescriptor pid = PiDescriptor.over(new long[PiDescriptor.WORDS]);
        pid.reset();
        pid.load(0);
        return pid;
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void vectorArrivesOnlyWithTheRepair(boolean repaired) {
        PiDescriptor pid = loaded();
        long[] irr = new long[4];
        for (LostInterrupt2019.Step step : LostInterrupt2019.steps()) {
            if (repaired || !step.repair()) {
                step.action().on(pid, SharedWords.of(irr));
            }
        }
        assertThat(irr).containsExactly(0, repaired ? 2 : 0, 0, 0);
        assertThat(pid.hasRequests()).isEqualTo(!repaired);
    }

    /** What is told is what the search finds: the accesses of the shortest losing order are those of the steps. */
    @Test
    void stepsAreTheShortestLosingOrder() {
        Exploration found = Scenario.DEVICE.explore(Variant.ON_ONLY, Memory.SEQUENTIAL);
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
        PiDescriptor pid = loaded();
        SharedWords irr = SharedWords.of(new long[4]);
        List<String> told = new ArrayList<>();
        for (LostInterrupt2019.Step step : LostInterrupt2019.steps()) {
            if (!step.repair()) {
                step.action().on(pid, irr);
                told.add((pid.hasRequests() ? "PIR, " : "") + "ON " + (pid.isOn() ? 1 : 0) + ", SN "
                        + (pid.isSuppressed() ? 1 : 0));
            }
        }
        assertThat(told)
                .startsWith("ON 0, SN 1", "PIR, ON 0, SN 1", "PIR, ON 0, SN 0", "PIR, ON 0, SN 0")
                .endsWith("PIR, ON 0, SN 0");
    }

    @Test
    void verdictsAreThoseOfTheSearch() {
        List<Race> searched = Race.REPAIRS.stream()
                .filter(race -> race.scenario() == Scenario.DEVICE_AND_SOFTWARE)
                .toList();
        assertThat(LostInterrupt2019.repairs())
                .extracting(LostInterrupt2019.Repair::loses)
                .containsExactlyElementsOf(
                        searched.stream().map(Race::losesInOrder).toList());
    }
}
