/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

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
            value = Scenario.class,
            names = {"DEVICE_AND_SOFTWARE", "TWO_DEVICES"})
    void barriersBesideLockedAccessesDoNothing(Scenario scenario) {
        assertThat(scenario.explore(Variant.WITH_BARRIERS, Memory.STORE_BUFFERS).ends())
                .isEqualTo(scenario.explore(Variant.TODAY, Memory.STORE_BUFFERS).ends());
    }

    @Test
    void bugOf2019LeavesTheRequestWithoutOn() {
        Exploration found = Scenario.DEVICE.explore(Variant.ON_ONLY, Memory.SEQUENTIAL);
        assertThat(found.why()).isEqualTo("vcpu 0 runs, PIR not empty, ON 0, RVI 0x0");
    }
}
