/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.apic.PostedRaces;
import io.kvmirq.arch.apic.PostedScenario;
import io.kvmirq.arch.apic.PostedVariant;
import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Memory;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LostInterrupt2019Test {
    /** In the order in which they are told. */
    private static final List<PostedVariant> REPAIRS = List.of(
            PostedVariant.ON_ONLY,
            PostedVariant.PIR_ONLY,
            PostedVariant.PIR_OR_ON,
            PostedVariant.ON_SN_STORE,
            PostedVariant.ON_SN_STORE_AS_QUOTED,
            PostedVariant.CHECK_THEN_CLEAR,
            PostedVariant.TODAY);

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void vectorArrivesOnlyWithTheRepair(boolean repaired) {
        LostInterrupt2019.Side side = new LostInterrupt2019.Side();
        for (Race.Step<LostInterrupt2019.Side> step : LostInterrupt2019.steps()) {
            if (repaired || !step.repair()) {
                step.on(side);
            }
        }
        assertThat(side.isInIrr()).isEqualTo(repaired);
        assertThat(side.isRequested()).isEqualTo(!repaired);
    }

    /** The steps are those of the search: they make the accesses of the shortest losing order. */
    @Test
    void stepsAreTheShortestLosingOrder() {
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
        LostInterrupt2019.Side side = new LostInterrupt2019.Side();
        List<String> told = new ArrayList<>();
        for (Race.Step<LostInterrupt2019.Side> step : LostInterrupt2019.steps()) {
            if (!step.repair()) {
                step.on(side);
                told.add((side.isRequested() ? "PIR, " : "") + "ON " + (side.isOn() ? 1 : 0) + ", SN "
                        + (side.isSuppressed() ? 1 : 0));
            }
        }
        assertThat(told)
                .startsWith("ON 0, SN 1", "PIR, ON 0, SN 1", "PIR, ON 0, SN 0", "PIR, ON 0, SN 0")
                .endsWith("PIR, ON 0, SN 0");
    }

    @Test
    void verdictsAreThoseOfTheSearch() {
        assertThat(LostInterrupt2019.repairs())
                .extracting(Race.Finding::word)
                .containsExactlyElementsOf(REPAIRS.stream()
                        .map(repair -> verdict(PostedRaces.VERDICTS
                                .expected(repair)
                                .getOrDefault(PostedScenario.DEVICE_AND_SOFTWARE, "")))
                        .toList());
    }

    private static String verdict(String searched) {
        return switch (searched) {
            case "LL" -> "loses";
            case "hh" -> "late";
            case ".." -> "keeps";
            default -> throw new AssertionError(searched);
        };
    }

    /** A unit looks at ON only: the second post of one vector notifies where software would stop. */
    @Test
    void deviceThatPostsAgainNotifies() {
        LostInterrupt2019.Side side = new LostInterrupt2019.Side();
        for (Race.Step<LostInterrupt2019.Side> step : LostInterrupt2019.steps()) {
            if (!step.repair()) {
                step.on(side);
            }
        }
        assertThat(side.isInIrr()).isFalse();
        assertThat(side.post()).isEqualTo("notified");
        assertThat(side.isOn()).isTrue();
    }
}
