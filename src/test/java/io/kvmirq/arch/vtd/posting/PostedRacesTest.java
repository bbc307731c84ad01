/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Memory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class PostedRacesTest {
    /** A locked access is a full barrier on x86: what the kernel writes beside it for other processors does nothing. */
    @ParameterizedTest
    @EnumSource(
            value = PostedScenario.class,
            names = {"DEVICE_AND_SOFTWARE", "TWO_DEVICES"})
    void barriersBesideLockedAccessesDoNothing(PostedScenario scenario) {
        assertThat(scenario.explore(PostedVariant.WITH_BARRIERS, Memory.STORE_BUFFERS)
                        .ends())
                .isEqualTo(scenario.explore(PostedVariant.TODAY, Memory.STORE_BUFFERS)
                        .ends());
    }

    @Test
    void bugOf2019LeavesTheRequestWithoutOn() {
        Exploration found = PostedScenario.DEVICE.explore(PostedVariant.ON_ONLY, Memory.SEQUENTIAL);
        assertThat(found.why()).isEqualTo("vcpu 0 runs, PIR not empty, ON 0, RVI 0x0");
    }
}
