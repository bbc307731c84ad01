/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.TestDevice.NVME;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.IrqKind;
import io.kvmirq.PciAddress;
import io.kvmirq.forward.Mechanism;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.selftest.ForwardAnswer;
import io.kvmirq.selftest.ForwardPlan;
import io.kvmirq.selftest.ForwardResult;
import io.kvmirq.selftest.ForwardSelftest;
import io.kvmirq.selftest.ForwardSelftest.Choice;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** The self-test of forwarding, on the devices of the lab: every interrupt arrives and nothing is left. */
@VfioContract
class ForwardSelftestContract extends VfioSuite {
    private static final ForwardSelftest.Listener SILENT = new ForwardSelftest.Listener() {
        @Override
        public void begin(ForwardPlan plan) {}

        @Override
        public void answered(ForwardAnswer answer) {}
    };

    private ForwardResult result(TestDevice device, Choice choice) {
        PciAddress address = vfio.address(device);
        try (Kernel kernel = Kernel.over(this.kernel)) {
            ForwardResult result = new ForwardSelftest(
                            kernel, address, () -> Mirror.create(MirrorHost.unknown("not asked")), choice, SILENT)
                    .run();
            assertThat(result.left()).isEmpty();
            return result;
        }
    }

    private static ForwardResult passed(ForwardResult result) {
        assertThat(result.failure()).isEmpty();
        assertThat(result.answers())
                .allSatisfy(answer ->
                        assertThat(answer.arrived()).as(answer.toString()).isEqualTo(1));
        assertThat(result.passed()).isTrue();
        return result;
    }

    private ForwardResult run(TestDevice device, Choice choice) {
        return passed(result(device, choice));
    }

    @Test
    void everyVectorOfMsixArrives() {
        assertThat(run(E1000E, Choice.ALL).answers())
                .hasSize(5)
                .extracting(ForwardAnswer::mechanism)
                .containsOnly(Mechanism.IRQFD);
        assertThat(run(NVME, Choice.ALL).answered()).isEqualTo(65);
    }

    @Test
    void vectorOfMsiArrives() {
        assertThat(run(EDU, Choice.ALL).plan().kind()).isEqualTo(IrqKind.MSI);
    }

    @Test
    void lineArrives() {
        ForwardResult result = result(EDU, new Choice(Optional.of(IrqKind.INTX), 0, Optional.empty()));
        boolean mayMissEoi = !Machine.isX86() && world.fake().isEmpty() && Machine.kernelAtLeast(6, 19);
        String failure = result.failure().orElse("");
        assumeFalse(mayMissEoi && failure.contains("misses the EOI"), failure);
        assertThat(passed(result).answers())
                .extracting(ForwardAnswer::mechanism)
                .containsExactly(Mechanism.RESAMPLE);
    }

    /** Output for a real device is kept in the log. */
    @Test
    void commandShowsEachWay() throws Exception {
        String address = vfio.place(E1000E).address();
        assumeTrue(world.fake().isEmpty(), "needs a real kernel: ForwardCommandTest has the fake ones");
        List<String> command = VfioKillContract.java();
        command.addAll(List.of(
                "-Dkvmirq.backend=" + vfio,
                "-cp",
                System.getProperty("java.class.path"),
                "io.kvmirq.cli.Main",
                "forward",
                address,
                "--selftest"));
        String out = Program.output(command);
        System.out.print(out);
        assertThat(out).contains("5 of 5 interrupts", "nothing left behind: PASS");
    }
}
