/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Verdicts;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@Tag("search")
class IntxRacesTest {
    /** VFIO's state is changed under locks and by locked accesses, so that x86's order suffices. */
    @ParameterizedTest
    @EnumSource(names = {"ONE", "SHARED", "GONE", "SWITCH"})
    void storeBuffersChangeNoVerdictOfOurs(IntxScenario scenario) {
        assertThat(Verdicts.letter(scenario.worst(IntxVariant.OURS, Memory.STORE_BUFFERS)))
                .isEqualTo(".");
    }

    @Test
    void lateHandlerOfLinuxLeavesTheLineDisabled() {
        Exploration found = IntxScenario.CONTROLLER.explore(IntxVariant.LINUX_7_1, Memory.SEQUENTIAL);
        assertThat(found.order()).anyMatch(step -> step.what().contains("disable depth = 2"));
    }

    @Test
    void directEoiOnASharedLineLeavesTheOtherVmWaiting() {
        Exploration found = IntxScenario.SHARED.explore(IntxVariant.DIRECT_SHARED, Memory.SEQUENTIAL);
        assertThat(found.why()).isEqualTo("the device of the other VM waits forever");
    }
}
