/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.gic.model.VgicRaces;
import io.kvmirq.arch.gic.model.VgicScenario;
import io.kvmirq.arch.gic.model.VgicVariant;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class VgicLateMaintenance2012Test {
    /** The variant of the search that tells of a finding, and where. */
    private record Searched(VgicVariant variant, VgicScenario scenario) {}

    /** In the order in which they are told. */
    private static final List<Searched> FINDINGS = List.of(
            new Searched(VgicVariant.OURS, VgicScenario.LATE_AND_SLEEP),
            new Searched(VgicVariant.SET_TWICE, VgicScenario.LATE_AND_SLEEP),
            new Searched(VgicVariant.COLLAPSED, VgicScenario.TWO_SOURCES),
            new Searched(VgicVariant.OURS, VgicScenario.WRONG_VCPU),
            new Searched(VgicVariant.OURS, VgicScenario.WRONG_VCPU_ONCE),
            new Searched(VgicVariant.LOOKS_ALWAYS, VgicScenario.LATE),
            new Searched(VgicVariant.CLEARED_UNLOCKED, VgicScenario.SLEEP),
            new Searched(VgicVariant.AT_EXIT, VgicScenario.WRONG_VCPU_ONCE));

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void vcpuSleepsOnlyWithoutTheRepair(boolean repaired) {
        VgicLateMaintenance2012.Side side = new VgicLateMaintenance2012.Side(repaired);
        assertThat(side.register()).isEqualTo("active");
        VgicLateMaintenance2012.steps().forEach(step -> step.on(side));
        assertThat(side.isLost()).isNotEqualTo(repaired);
        assertThat(side.register()).isEqualTo(repaired ? "pending" : "empty");
    }

    @Test
    void flagIsClearedAfterTheHandlerSetIt() {
        VgicLateMaintenance2012.Side side = new VgicLateMaintenance2012.Side(false);
        List<String> seen = new ArrayList<>();
        for (Race.Step<VgicLateMaintenance2012.Side> step : VgicLateMaintenance2012.steps()) {
            step.on(side);
            seen.add(side.register() + " " + side.isFlagged());
        }
        assertThat(seen)
                .containsExactly(
                        "ended false",
                        "ended true",
                        "ended true",
                        "empty true",
                        "empty false",
                        "empty false",
                        "empty false",
                        "empty false");
    }

    @Test
    @Tag("search")
    void verdictsAreThoseOfTheSearch() {
        assertThat(VgicLateMaintenance2012.findings())
                .extracting(finding -> switch (finding.word()) {
                    case "keeps" -> ".";
                    case "waits" -> "h";
                    case "loses" -> "L";
                    default -> finding.word();
                })
                .containsExactlyElementsOf(FINDINGS.stream()
                        .map(searched -> VgicRaces.VERDICTS.verdict(searched.variant(), searched.scenario()))
                        .toList());
    }
}
