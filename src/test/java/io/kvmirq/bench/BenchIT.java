/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Few rounds of some benchmarks, so that these and their report work on the day when they are needed. */
@Tag("long")
class BenchIT {
    private static final int FEW = 3;
    /** A second for each part of posting. */
    private static final int MANY = 200;

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path directory;

    private Map<String, Double> ratios(String... names) throws Exception {
        return ratiosBeside("", names);
    }

    private List<String> command(String before, int rounds, String... names) {
        Machine.jar();
        List<String> command = new ArrayList<>(List.of(
                "env",
                "-u",
                "BASE",
                "BEFORE=" + before,
                "KVMIRQ_BENCH_ROUNDS=" + rounds,
                "KVMIRQ_BENCH_OUT=" + directory,
                Machine.root().resolve("scripts/bench").toString()));
        command.addAll(List.of(names));
        return command;
    }

    private Map<String, Double> ratiosBeside(String before, String... names) throws Exception {
        assertThat(Program.output(command(before, FEW, names))).contains("report: " + directory);
        assertThat(directory.resolve("report.md")).content().startsWith("# Benchmarks\n");
        return Report.ratios(directory.resolve("report.json"));
    }

    @Test
    void benchmarksWithoutKvmWork() throws Exception {
        assertThat(ratios("posting"))
                .containsKeys(
                        "posting: Java / C: deliver, bit clear, JDK " + jdk(),
                        "posting: Java / C: posted words at once, JDK " + jdk());
        // The report that this run replaces.
        String before = directory.resolve("report.json").toString();
        assertThat(ratiosBeside(before, "posting")).isNotEmpty();
        assertThat(directory.resolve("report.md"))
                .content()
                .contains("- before: " + before + "\n")
                .containsPattern("deliver, bit clear, JDK \\d+ \\|.*\\| \\d+\\.\\d+ \\|\n");
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void benchmarksWithKvmWork() throws Exception {
        assertThat(ratios("calls", "dispatch"))
                .containsKeys(
                        "calls: jni / C: KVM_IRQ_LINE, JDK " + jdk(),
                        "dispatch: doorbells / C, edge-triggered, 16 ready of 1024, JDK " + jdk());
    }

    @Test
    void benchmarkThatNeedsKvmSaysSoWithoutIt() throws Exception {
        Machine.assumeSucceeds("unshare", "--mount", "true");
        Path file = Files.createFile(directory.resolve("kvm"));
        String hidden = "[ ! -e /dev/kvm ] || mount --bind " + file + " /dev/kvm && exec \"$@\"";
        List<String> command = new ArrayList<>(List.of("unshare", "--mount", "sh", "-c", hidden, "sh"));
        command.addAll(command("", FEW, "calls", "attach", "fake", "peer", "scale", "selftest", "vcpu"));
        Program.Ended ended = Program.run(command);
        assertThat(ended.code()).as(ended.said()).isEqualTo(1);
        for (String name : List.of("calls", "attach", "fake", "peer", "scale", "selftest", "vcpu")) {
            assertThat(ended.said())
                    .containsOnlyOnce("bench: " + name + " needs KVM, and this user cannot open /dev/kvm: become root"
                            + " or join the group kvm\n");
        }
        assertThat(ended.said())
                .doesNotContain("Exception", "\tat ")
                .contains("failed: calls needs KVM, attach needs KVM, fake needs KVM, ");
        assertThat(Report.ratios(directory.resolve("report.json"))).isEmpty();
    }

    @ParameterizedTest
    @CsvSource({"TERM, 143", "INT, 130"})
    void interruptedRunReportsWhatItMeasured(String signal, int code) throws Exception {
        // A shell that runs others in the background has them ignore SIGINT.
        Machine.assumeSucceeds("bash", "-c", "trap 'exit 0' " + signal + "; kill -" + signal + " $$; exit 1");
        Process script = new ProcessBuilder(command("", MANY, "posting"))
                .redirectErrorStream(true)
                .redirectOutput(directory.resolve("said").toFile())
                .start();
        // The file is there before its first row.
        Path rows = directory.resolve("rows.jsonl");
        eventually("the first part is measured", () -> Files.exists(rows) && endsWithRow(rows));
        List<ProcessHandle> benchmark = script.descendants().toList();
        Program.signal(signal, script.pid());
        assertThat(script.waitFor()).isEqualTo(code);
        assertThat(benchmark).noneMatch(ProcessHandle::isAlive);
        assertThat(directory.resolve("said")).content().contains("report: " + directory);
        assertThat(directory.resolve("report.md"))
                .content()
                .containsPattern("interrupted by SIG" + signal + " during posting \\w+, JDK \\d+: what follows");
        assertThat(Report.ratios(directory.resolve("report.json")))
                .containsKey("posting: Java / C: deliver, bit clear, JDK " + jdk())
                .doesNotContainKey("posting: Java / C: decode all, by accessors, JDK " + jdk());
    }

    private static boolean endsWithRow(Path rows) {
        try {
            return Files.readString(rows).endsWith("\n");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The oldest, on which tests of the command run. */
    private static int jdk() {
        return Runtime.version().feature();
    }
}
