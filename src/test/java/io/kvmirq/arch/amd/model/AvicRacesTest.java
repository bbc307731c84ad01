/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Verdicts;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@Tag("search")
class AvicRacesTest {
    /** The case of the thread of 2016: the device is masked while the guest moves its interrupt. */
    @ParameterizedTest
    @EnumSource(
            value = AvicVariant.class,
            names = {"EMBEDDED_NODE", "WRAPPERS", "REFUSE_SECOND_ADD", "TWO_LOCKS", "UP_TO_6_16"})
    void historicVariantLosesWhereOursKeeps(AvicVariant historic) {
        assertThat(AvicRaces.VERDICTS.expected(historic)).containsEntry(AvicScenario.MOVE, "L");
    }

    /** A column in which ours loses would hide a change of ours that loses there. */
    @Test
    void oursKeepsEverywhere() {
        assertThat(AvicRaces.VERDICTS.expected(AvicVariant.TODAY).values()).containsOnly(".");
    }

    /** The previous vCPU blocks between the removal from its list and the write. */
    @Test
    void linux617LosesARequestOfThePreviousVcpu() {
        Exploration found = AvicScenario.MOVE_LIVE.explore(AvicVariant.FROM_6_17, Memory.SEQUENTIAL);
        assertThat(found.why()).isEqualTo("vcpu 0 sleeps with a vector in its IRR");
    }

    @ParameterizedTest
    @EnumSource(names = {"BLOCK", "LOG", "TWO_UPDATES", "INHIBIT", "PERMIT"})
    void storeBuffersChangeNoVerdictOfOurs(AvicScenario scenario) {
        assertThat(Verdicts.letter(scenario.worst(AvicVariant.TODAY, Memory.STORE_BUFFERS)))
                .isEqualTo(AvicRaces.VERDICTS.expected(AvicVariant.TODAY).get(scenario));
    }

    @Test
    void embeddedNodeCorruptsTheOldList() {
        Exploration found = AvicScenario.MOVE.explore(AvicVariant.EMBEDDED_NODE, Memory.SEQUENTIAL);
        assertThat(found.why()).isEqualTo("the walk of the list of vcpu 0 leaves the list");
    }

    @Test
    void wrapperLetsTheOldVcpuWriteTheEntryOfTheNew() {
        Exploration found = AvicScenario.MOVE.explore(AvicVariant.WRAPPERS, Memory.SEQUENTIAL);
        assertThat(found.why()).endsWith("with a vector in its IRR");
        assertThat(found.order())
                .anyMatch(step -> step.actor().equals("vcpu 0") && step.what().startsWith("entry = vcpu 1"));
    }
}
