/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.selftest.Heard;
import io.kvmirq.selftest.Irqchip;
import io.kvmirq.selftest.Result;
import io.kvmirq.selftest.Scenario;
import io.kvmirq.selftest.Selftest;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The self-test of arm64 on a GICv3 or a GICv2: interrupts are taken by its guest, or seen in the pending state. {@code
 * -Dkvmirq.test.answered=10000} sends as many to the guest.
 */
@ArmContract
class VgicSelftestContract extends ArmVms {
    private static final int ROUND_TRIPS = 20;
    private static final int ANSWERED = Integer.getInteger("kvmirq.test.answered", ROUND_TRIPS);

    VgicSelftestContract(World world) {
        super(world);
    }

    private Heard passes(Irqchip irqchip, int count, Scenario scenario) {
        Heard heard = new Heard();
        List<Result> results = new Selftest(kernel, irqchip, count, heard).run(List.of(scenario));
        assertThat(results).singleElement().satisfies(result -> {
            assertThat(result.failure()).isEmpty();
            assertThat(result.skipped()).isEmpty();
            assertThat(result.sent()).isPositive().isEqualTo(result.answered());
        });
        return heard;
    }

    @ParameterizedTest
    @EnumSource
    void everyScenarioPassesWithoutAGuest(Scenario scenario) {
        assertThat(passes(Irqchip.PENDING, ROUND_TRIPS, scenario).steps())
                .filteredOn(step -> step.contains("seen pending"))
                .isNotEmpty()
                .noneMatch(step -> step.contains("NOT"));
    }

    @ParameterizedTest
    @EnumSource
    void guestAnswersInEveryScenario(Scenario scenario) {
        assumeTrue(world.kernel().isReal(), "needs a real kernel: the fake runs no guest of arm64");
        assertThat(Irqchip.ofKernel(kernel)).isEqualTo(Irqchip.VGIC);
        List<String> steps = passes(Irqchip.VGIC, ANSWERED, scenario).steps();
        assertThat(steps.stream().anyMatch(step -> step.startsWith("boot the guest: CPU interface enabled")))
                .isEqualTo(scenario != Scenario.GUESTLESS);
    }
}
