/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Memory;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@Tag("search")
class VgicRacesTest {
    private static String expected(VgicVariant variant, VgicScenario scenario) {
        return VgicRaces.VERDICTS.expected(variant).getOrDefault(scenario, "");
    }

    /** What the review of 2012 found: a round is lost, and a guest that sleeps then is not woken. */
    @Test
    void lateMaintenanceInterruptLosesARoundWithoutTheLockAndNoneWithIt() {
        assertThat(expected(VgicVariant.AS_POSTED, VgicScenario.LATE)).isEqualTo("h");
        assertThat(expected(VgicVariant.AS_POSTED, VgicScenario.LATE_AND_SLEEP)).isEqualTo("L");
        assertThat(expected(VgicVariant.OURS, VgicScenario.LATE)).isEqualTo(".");
        assertThat(expected(VgicVariant.OURS, VgicScenario.LATE_AND_SLEEP)).isEqualTo(".");
    }

    @Test
    void lateMaintenanceInterruptComesAfterAllIsQueued() {
        Exploration found = VgicScenario.LATE_AND_SLEEP.explore(VgicVariant.AS_POSTED, Memory.SEQUENTIAL);
        assertThat(found.why()).isEqualTo("vcpu 0 runs, and SPI 34 is pending");
        assertThat(found.order().stream().map(step -> step.actor() + ": " + step.what()))
                .containsSubsequence("cpu 0: LR0 = gic.lr 0x0", "cpu 0: flag of vcpu 0 = 1", "vcpu 0: guest mode = 1");
    }

    @Test
    void collapsedSourcesLoseASender() {
        Exploration found = VgicScenario.TWO_SOURCES.explore(VgicVariant.COLLAPSED, Memory.SEQUENTIAL);
        assertThat(found.why()).isEqualTo("SGI 1 of vcpu 2 is lost");
    }

    /** The limit: nothing tells the handler for which vCPU the interrupt was raised. */
    @ParameterizedTest
    @EnumSource
    void interruptOnTheWrongVcpuIsLostUnlessEachExitLooksOrNoneIsRaised(VgicVariant variant) {
        assertThat(expected(variant, VgicScenario.WRONG_VCPU))
                .isEqualTo(variant == VgicVariant.AT_EXIT || variant == VgicVariant.NO_EOI ? "." : "L");
    }

    @Test
    void settingTheFlagTwiceIsHarmless() {
        assertThat(VgicRaces.VERDICTS.expected(VgicVariant.SET_TWICE))
                .isEqualTo(VgicRaces.VERDICTS.expected(VgicVariant.OURS));
    }
}
