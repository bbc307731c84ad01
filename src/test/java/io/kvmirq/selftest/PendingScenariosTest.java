/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The self-test of arm64, where interrupts are seen in the pending state of the VGIC. */
class PendingScenariosTest {
    /** Enough for the fake, which loses what is lost at once. */
    private static final Duration SHORT = Duration.ofMillis(200);

    private final Heard journal = new Heard();

    private Result run(Faults faults, Irqchip irqchip, Scenario scenario) {
        FakeKernel fake = new FakeKernel(Profile.parse("6.12,arm64"));
        try (Kernel kernel = Kernel.over(faults.over(fake.backend()))) {
            return new Selftest(kernel, irqchip, 20, journal, SHORT)
                    .run(List.of(scenario))
                    .get(0);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1,arm64", "6.12,arm64", "6.18,arm64", "7.1,arm64"})
    void everyScenarioPassesWithoutAGuest(String profile) {
        try (Kernel kernel = new FakeKernel(Profile.parse(profile)).open()) {
            assertThat(Irqchip.ofKernel(kernel)).isEqualTo(Irqchip.PENDING);
            List<Result> results = new Selftest(kernel, Irqchip.PENDING, 20, journal).run(List.of(Scenario.values()));
            assertThat(results).hasSize(Scenario.values().length).allSatisfy(result -> {
                assertThat(result.failure()).as(result.scenario().label()).isEmpty();
                assertThat(result.passed()).isTrue();
                assertThat(result.sent()).isPositive().isEqualTo(result.answered());
                assertThat(result.latency()).isEmpty();
            });
        }
        assertThat(journal.steps())
                .filteredOn(step -> step.contains("seen pending"))
                .hasSizeGreaterThan(6);
        assertThat(journal.steps())
                .contains("the guest's EOI, which signals the resamplefd: not tried: no guest runs")
                .contains("msi 0x8090040/0x1 device 0x10 while the ITS is off: EBUSY, as expected")
                .contains("signal the eventfd: seen pending: LPI 8200 in the pending table");
    }

    @ParameterizedTest
    @EnumSource
    void waySaysThatNoGuestRuns(Scenario scenario) {
        assertThat(scenario.path(Irqchip.PENDING)).endsWith("no guest runs");
        assertThat(scenario.path(Irqchip.FULL))
                .isEqualTo(scenario.path(Irqchip.SPLIT))
                .doesNotContain("no guest runs");
    }

    @Test
    void refusalFailsTheScenario() {
        Result result = run(new Faults().fail("irqfdAssign", 1, Errno.EAGAIN), Irqchip.PENDING, Scenario.EDGE);
        assertThat(result.failure())
                .hasValueSatisfying(failure -> assertThat(failure).contains("EAGAIN (the interrupt controller is not"));
    }

    /** The route goes elsewhere than the self-test believes: it waits, and says what was lost. */
    @Test
    void lostInterruptIsFound() {
        Result result = run(new Faults().shorten("routesSet", 1, 0), Irqchip.PENDING, Scenario.MASK);
        assertThat(result.passed()).isFalse();
        assertThat(result.lost()).isPositive();
        assertThat(result.failure()).isEqualTo(Optional.of("sent 2 interrupts, 1 arrived"));
        assertThat(journal.steps()).contains("assign again: NOT seen pending", "signal: seen pending");
    }

    /** Signals that go nowhere are in the answer of their step too. */
    @Test
    void everyStepSaysWhatItSaw() {
        run(new Faults().shorten("lineSet", 1, 0), Irqchip.PENDING, Scenario.GUESTLESS);
        assertThat(journal.steps()).contains("raise ppi 23 of vcpu 0: NOT seen pending");
        run(new Faults().shorten("eventfdSignal", 1, 0), Irqchip.PENDING, Scenario.LEVEL);
        assertThat(journal.steps())
                .contains("assert: NOT seen pending", "assign and assert again: seen pending: line high");
        run(new Faults().shorten("eventfdSignal", 3, 0), Irqchip.PENDING, Scenario.MANY);
        assertThat(journal.steps()).contains("raise all 64 at once: 63 of 64 seen pending");
        run(new Faults().shorten("eventfdSignal", 1, 0), Irqchip.PENDING, Scenario.EDGE);
        assertThat(journal.steps()).contains("raise it 20 times, clear its latch each time: 0 seen pending");
    }

    /** On a host with a GICv2 no VM gets a GICv3. */
    @ParameterizedTest
    @ValueSource(strings = {"6.1,gicv2", "7.1,gicv2"})
    void everyScenarioPassesOnAGicV2(String profile) {
        try (Kernel kernel = new FakeKernel(Profile.parse(profile)).open()) {
            assertThat(new Selftest(kernel, Irqchip.PENDING, 20, journal).run(List.of(Scenario.values())))
                    .hasSize(Scenario.values().length)
                    .allSatisfy(result -> {
                        assertThat(result.failure())
                                .as(result.scenario().label())
                                .isEmpty();
                        assertThat(result.passed()).isTrue();
                        assertThat(result.sent()).isPositive().isEqualTo(result.answered());
                    });
        }
        assertThat(journal.steps())
                .contains("vcpu 0, never run; a GICv2 with 256 interrupts: initialized")
                .contains("raise ppi 23 of vcpu 0: seen pending: line high")
                .contains("a message to an ITS: not tried: this host has none");
    }

    @ParameterizedTest
    @EnumSource
    void hostWithoutAVgicSkipsWithTheReason(Scenario scenario) {
        Result result = run(new Faults().fail("deviceTest", 1, Errno.ENODEV), Irqchip.PENDING, scenario);
        assertThat(result.skipped()).hasValueSatisfying(reason -> assertThat(reason)
                .isEqualTo("KVM on this host supports neither a guest GICv3 nor a guest GICv2, one of"
                        + " which the scenarios need"));
        assertThat(result.failure()).isEmpty();
    }

    @ParameterizedTest
    @EnumSource(names = {"FULL", "SPLIT"})
    void irqchipOfX86IsRefusedInOneSentence(Irqchip irqchip) {
        assertThat(run(new Faults(), irqchip, Scenario.EDGE).failure())
                .hasValueSatisfying(
                        failure -> assertThat(failure).contains("is arm64 and has no x86 parts: call Vm.arm64()"));
    }

    @Test
    void vgicIsRefusedOnX86InOneSentence() {
        try (Kernel kernel = new FakeKernel(Profile.V6_18).open()) {
            assertThat(new Selftest(kernel, Irqchip.PENDING, 1, journal)
                            .run(List.of(Scenario.EDGE))
                            .get(0)
                            .failure())
                    .hasValueSatisfying(failure ->
                            assertThat(failure).endsWith("is x86_64 and has no arm64 parts: call Vcpu.x86()"));
        }
    }
}
