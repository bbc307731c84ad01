/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.IrqKind;
import io.kvmirq.cli.frame.KernelReport;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Mechanism;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.mirror.Posting;
import io.kvmirq.selftest.ForwardAnswer;
import io.kvmirq.selftest.ForwardPlan;
import io.kvmirq.selftest.ForwardResult;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** The first line of a test of a device: fakes lose no interrupt, so results are made here. */
class ForwardTextTest {
    private static ForwardAnswer answer(int vector, long arrived) {
        return new ForwardAnswer(
                IrqKind.MSIX,
                vector,
                "eventfd",
                Optional.empty(),
                "vector 0x30",
                arrived,
                Mechanism.IRQFD,
                new Posting.Unknown("no file shows it"));
    }

    private static String printed(Optional<String> failure, List<String> left, long... arrived) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        PrintStream stream = new PrintStream(out, true, StandardCharsets.UTF_8);
        Terminal terminal = new Terminal(stream, stream, false, Terminal.DEFAULT_COLUMNS, 0);
        ForwardPlan plan = new ForwardPlan(
                "0000:3b:00.0",
                IrqKind.MSIX,
                0,
                arrived.length,
                arrived.length,
                arrived.length,
                true,
                Optional.empty());
        List<ForwardAnswer> answers = IntStream.range(0, arrived.length)
                .mapToObj(i -> answer(i, arrived[i]))
                .toList();
        try (Kernel kernel = new FakeKernel(Profile.V6_1).open()) {
            ForwardText text = new ForwardText(new KernelReport(kernel, terminal), terminal);
            text.begin(plan);
            answers.forEach(text::answered);
            assertThat(out.size()).isZero();
            text.end(new ForwardResult(plan, answers, failure, List.of()), left);
        }
        return out.toString(StandardCharsets.UTF_8);
    }

    @Test
    void firstLineSaysHowManyReachedTheGuest() {
        assertThat(printed(Optional.empty(), List.of(), 1, 1))
                .startsWith("FAKE both interrupts of 0000:3b:00.0 reached the guest\n")
                .endsWith(": PASS\n");
        assertThat(printed(Optional.empty(), List.of(), 1, 0))
                .startsWith("FAKE only 1 of 2 interrupts of 0000:3b:00.0 reached the guest; see the lines marked NOT\n")
                .contains("NOT answered");
    }

    @Test
    void firstLineSaysThatSomethingIsLeft() {
        assertThat(printed(Optional.of("it was stopped"), List.of("host irq 27"), 1))
                .startsWith(
                        "FAKE the test failed, though the interrupt of 0000:3b:00.0 reached the guest: something was"
                                + " left behind, it was stopped\n");
    }
}
