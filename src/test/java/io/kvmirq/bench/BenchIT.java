/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.RealKvm;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Few rounds of some benchmarks, so that these and their report work on the day when they are needed. */
class BenchIT {
    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path directory;

    private Map<String, Double> ratios(String... names) throws Exception {
        return ratiosBeside("", names);
    }

    private Map<String, Double> ratiosBeside(String before, String... names) throws Exception {
        Machine.jar();
        List<String> command = new ArrayList<>(List.of(
                "env",
                "-u",
                "BASE",
                "BEFORE=" + before,
                "KVMIRQ_BENCH_ROUNDS=3",
                "KVMIRQ_BENCH_OUT=" + directory,
                Machine.root().resolve("scripts/bench").toString()));
        command.addAll(List.of(names));
        assertThat(Program.output(command)).contains("report: " + directory);
        assertThat(directory.resolve("report.html")).content().contains("<svg", "</html>");
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
        assertThat(ratios("calls", "dispatch", "recording"))
                .containsKeys(
                        "calls: jni / C: KVM_IRQ_LINE, JDK " + jdk(),
                        "dispatch: doorbells / C, edge-triggered, 16 ready of 1024, JDK " + jdk(),
                        "recording: in the JVM: KVM_RUN, immediate_exit, JDK " + jdk(),
                        "recording: preloaded: eventfd write");
    }

    /** The oldest, on which tests of the command run. */
    private static int jdk() {
        return Runtime.version().feature();
    }
}
