/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.selftest.Heard;
import io.kvmirq.selftest.Irqchip;
import io.kvmirq.selftest.Result;
import io.kvmirq.selftest.Scenario;
import io.kvmirq.selftest.Selftest;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The self-test of arm64, whose interrupts are seen in the pending state of a VGIC, GICv3 or GICv2. */
@ArmContract
class VgicSelftestContract extends ArmVms {
    private static final int ROUND_TRIPS = 20;

    VgicSelftestContract(World world) {
        super(world);
    }

    @ParameterizedTest
    @EnumSource
    void everyScenarioPassesWithoutAGuest(Scenario scenario) {
        assertThat(Irqchip.ofKernel(kernel)).isEqualTo(Irqchip.VGIC);
        Heard heard = new Heard();
        List<Result> results = new Selftest(kernel, Irqchip.VGIC, ROUND_TRIPS, heard).run(List.of(scenario));
        assertThat(results).singleElement().satisfies(result -> {
            assertThat(result.failure()).isEmpty();
            assertThat(result.skipped()).isEmpty();
            assertThat(result.sent()).isPositive().isEqualTo(result.answered());
        });
        assertThat(heard.steps())
                .filteredOn(step -> step.contains("seen pending"))
                .isNotEmpty()
                .noneMatch(step -> step.contains("NOT"));
    }
}
