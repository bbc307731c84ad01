/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.RealKvm;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Three rounds of each benchmark, so that they and their report work on the day when they are needed. */
@Tag("long")
class BenchIT {
    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path directory;

    private List<String> bench(String... names) {
        Machine.jar();
        List<String> command = new ArrayList<>(List.of(
                "env",
                "KVMIRQ_BENCH_ROUNDS=3",
                "KVMIRQ_BENCH_OUT=" + directory,
                Machine.root().resolve("scripts/bench").toString()));
        command.addAll(List.of(names));
        return command;
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void reportHasRowsOfEachBenchmark() throws Exception {
        assertThat(Program.output(bench())).contains("report: " + directory);
        String jdk = ", JDK " + Runtime.version().feature() + " | ";
        assertThat(directory.resolve("report.md"))
                .content()
                .contains(
                        "- 3 rounds, so ratios mean nothing",
                        "\n| row | ",
                        "\n| attach: 2048 vectors: attach, forwardAll / C, one commit" + jdk,
                        "\n| calls: jni / C: KVM_IRQ_LINE" + jdk,
                        "\n| dispatch: doorbells / C, edge-triggered, 16 ready of 1024" + jdk,
                        "\n| fake: fake / real: a signal, on the fake through gsi 24 to the LAPIC" + jdk,
                        "\n| selftest: round trip through a guest / C, poll and read" + jdk,
                        "\n| tail: irqfd, guest, ioeventfd, 0.0 GB/s, Serial, JDK",
                        "\n| tail: irqfd, guest, an exit, 0.0 GB/s, Serial, pinned, JDK",
                        "\n| vcpu: jni / C: kick: guest computes" + jdk,
                        "\n| view: Java / C: pop and push of a virtqueue" + jdk);
    }

    @Test
    void benchmarkThatNeedsKvmSaysSoWithoutIt() throws Exception {
        Machine.assumeSucceeds("unshare", "--mount", "true");
        Path file = Files.createFile(directory.resolve("kvm"));
        String hidden = "[ ! -e /dev/kvm ] || mount --bind " + file + " /dev/kvm && exec \"$@\"";
        List<String> command = new ArrayList<>(List.of("unshare", "--mount", "sh", "-c", hidden, "sh"));
        command.addAll(bench("calls", "view"));
        Program.Ended ended = Program.run(command);
        assertThat(ended.code()).as(ended.said()).isEqualTo(1);
        assertThat(ended.said())
                .containsOnlyOnce("bench: calls needs KVM, and this user cannot open /dev/kvm: become root or join the"
                        + " group kvm\n")
                .contains("| view: Java / C: pop and push of a virtqueue, JDK ")
                .doesNotContain("Exception");
    }

    @Test
    void unknownNameIsRefusedWithTheKnownOnes() throws Exception {
        Program.Ended ended = Program.run(bench("calls", "nonsense"));
        assertThat(ended.code()).isEqualTo(2);
        assertThat(ended.said())
                .isEqualTo("bench: there is no benchmark nonsense: there are attach calls dispatch fake peer"
                        + " selftest tail vcpu view\n");
    }
}
