/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Memory;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@Tag("search")
class VgicRacesTest {
    private static final long MOST_STATES = 250_000;

    private static String found(VgicVariant variant, VgicScenario scenario) {
        return VgicRaces.VERDICTS.verdict(variant, scenario);
    }

    /**
     * The bug that the review of 2012 found: a guest that sleeps then is not woken, and a guest that runs waits until
     * its flag is set again. Only an entry that looks at pending interrupts without the flag makes that a round.
     */
    @Test
    void lateMaintenanceInterruptLosesALevelWithInterruptsOnAndNoneWithInterruptsOff() {
        assertThat(found(VgicVariant.AS_POSTED, VgicScenario.LATE)).isEqualTo("L");
        assertThat(found(VgicVariant.AS_POSTED, VgicScenario.LATE_AND_SLEEP)).isEqualTo("L");
        assertThat(found(VgicVariant.LOOKS_ALWAYS, VgicScenario.LATE)).isEqualTo("h");
        assertThat(found(VgicVariant.LOOKS_ALWAYS, VgicScenario.LATE_AND_SLEEP)).isEqualTo("L");
        assertThat(found(VgicVariant.OURS, VgicScenario.LATE)).isEqualTo(".");
        assertThat(found(VgicVariant.OURS, VgicScenario.LATE_AND_SLEEP)).isEqualTo(".");
    }

    /** As posted, senders and the clear of the flag have the lock. */
    @Test
    void sendersDoNotComeBetweenAsPosted() {
        assertThat(found(VgicVariant.AS_POSTED, VgicScenario.SLEEP)).isEqualTo(".");
        assertThat(found(VgicVariant.CLEARED_UNLOCKED, VgicScenario.SLEEP)).isEqualTo("L");
    }

    @Test
    void lateMaintenanceInterruptComesAfterAllIsQueued() {
        Exploration found = VgicScenario.LATE_AND_SLEEP.explore(VgicVariant.AS_POSTED, Memory.SEQUENTIAL);
        assertThat(found.why()).isEqualTo("vcpu 0 runs, and SPI 34 is pending");
    }

    @Test
    void collapsedSourcesLoseASender() {
        Exploration found = VgicScenario.TWO_SOURCES.explore(VgicVariant.COLLAPSED, Memory.SEQUENTIAL);
        assertThat(found.why()).isEqualTo("SGI 1 of vcpu 2 is lost");
    }

    /** The limit: the handler cannot tell for which vCPU the interrupt was raised. A level comes again. */
    @Test
    void interruptOnTheWrongVcpuIsLostOnlyIfItIsRaisedOnce() {
        assertThat(found(VgicVariant.OURS, VgicScenario.WRONG_VCPU)).isEqualTo(".");
        assertThat(found(VgicVariant.AS_POSTED, VgicScenario.WRONG_VCPU)).isEqualTo(".");
        Exploration once = VgicScenario.WRONG_VCPU_ONCE.explore(VgicVariant.OURS, Memory.SEQUENTIAL);
        assertThat(once.why()).isEqualTo("vcpu 0 runs, and SPI 34 is pending");
        assertThat(once.order().stream().filter(step -> !step.what().isEmpty()).map(step -> step.actor()))
                .as("vCPU 1 is on CPU 0 before the CPU takes the interrupt")
                .contains("vcpu 1")
                .doesNotContain("cpu 0");
        assertThat(found(VgicVariant.OURS, VgicScenario.WRONG_VCPU_ONCE)).isEqualTo("L");
        assertThat(found(VgicVariant.AT_EXIT, VgicScenario.WRONG_VCPU_ONCE)).isEqualTo(".");
    }

    /** A space of four actors is searched in seconds. */
    @ParameterizedTest
    @EnumSource
    void spacesAreSmall(VgicScenario scenario) {
        assertThat(scenario.explore(VgicVariant.OURS, Memory.SEQUENTIAL).states())
                .isLessThan(MOST_STATES);
    }
}
