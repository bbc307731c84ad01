/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.HostFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class InterruptTicksTest {
    private static final String HEAD = "           CPU0       CPU2       \n";

    @TempDir
    private Path root;

    private Path file;

    @BeforeEach
    void directory() throws IOException {
        file = Files.createDirectory(root.resolve("proc")).resolve("interrupts");
    }

    private static String row(String name, long first, long second, String rest) {
        return String.format("%3s: %10d %10d %s%n", name, first, second, rest);
    }

    /** The file stays the same, as one in /proc. */
    private void write(String... rows) throws IOException {
        Files.writeString(file, HEAD + String.join("", rows));
    }

    @Test
    void onlyCountsThatChangedAreParsed() throws IOException {
        write(
                row("24", 5, 9, " IR-PCI  0-edge  a"),
                row("25", 1, 1, " IR-PCI  1-edge  b"),
                row("PIN", 3, 4, " Posted"));
        try (InterruptTicks ticks = new InterruptTicks(HostFiles.at(root))) {
            assertThat(ticks.read()).isFalse();
            assertThat(ticks.names()).containsExactly("24", "25", "PIN");
            assertThat(ticks.grew("24")).isZero();
            assertThat(ticks.read()).isTrue();
            assertThat(ticks.parsed()).isZero();
            write(
                    row("24", 5, 109, " IR-PCI  0-edge  a"),
                    row("25", 1, 1, " IR-PCI  1-edge  b"),
                    row("PIN", 10, 5, " Posted"));
            assertThat(ticks.read()).isTrue();
            assertThat(ticks.parsed()).isEqualTo(3);
            assertThat(ticks.grew("24")).isEqualTo(100);
            assertThat(ticks.busiest("24")).isEqualTo(2);
            assertThat(ticks.grew("PIN")).isEqualTo(8);
            assertThat(ticks.grew("25")).isZero();
            assertThat(ticks.grewByCpu()).isEqualTo(Map.of(2, 100L));
            assertThat(ticks.read()).isTrue();
            assertThat(ticks.grew("24")).isZero();
        }
    }

    /** A count has 32 bits; one that falls otherwise was reset, and is no growth. */
    @Test
    void countThatWrapsGrowsAndOneThatFallsDoesNot() throws IOException {
        write(row("24", 4_294_967_290L, 500, " IR-PCI  0-edge  a"));
        try (InterruptTicks ticks = new InterruptTicks(HostFiles.at(root))) {
            ticks.read();
            write(row("24", 4, 500, " IR-PCI  0-edge  a"));
            ticks.read();
            assertThat(ticks.grew("24")).isEqualTo(10);
            write(row("24", 4, 20, " IR-PCI  0-edge  a"));
            ticks.read();
            assertThat(ticks.grew("24")).isZero();
            assertThat(ticks.grewByCpu()).isEmpty();
        }
    }

    @Test
    void rowThatComesOrChangesItsHandlerIsAnotherRow() throws IOException {
        write(row("24", 5, 9, " IR-PCI  0-edge  vfio-msix[0]"));
        try (InterruptTicks ticks = new InterruptTicks(HostFiles.at(root))) {
            ticks.read();
            write(row("24", 6, 9, " IR-PCI  0-edge  vfio-msix[1]"));
            assertThat(ticks.read()).isFalse();
            assertThat(ticks.grew("24")).isEqualTo(1);
            write(row("24", 6, 9, " IR-PCI  0-edge  vfio-msix[1]"), row("30", 2, 0, " IR-PCI  1-edge  b"));
            assertThat(ticks.read()).isFalse();
            assertThat(ticks.names()).containsExactly("24", "30");
            assertThat(ticks.grew("30")).isEqualTo(2);
            assertThat(ticks.read()).isTrue();
        }
    }

    /** The CPU's column disappears, and the sums fall. */
    @Test
    void processorThatGoesOfflineIsNoGrowth() throws IOException {
        write(row("24", 5, 900, " IR-PCI  0-edge  a"));
        try (InterruptTicks ticks = new InterruptTicks(HostFiles.at(root))) {
            ticks.read();
            Files.writeString(
                    file, "           CPU0       \n" + String.format("%3d: %10d  IR-PCI  0-edge  a%n", 24, 6));
            assertThat(ticks.read()).isFalse();
            assertThat(ticks.grew("24")).isZero();
            write(row("24", 7, 900, " IR-PCI  0-edge  a"));
            ticks.read();
            assertThat(ticks.grew("24")).isZero();
        }
    }

    /** Such as ERR, which has one count for all CPUs. */
    @Test
    void rowWithoutColumnsGrows() throws IOException {
        write(row("24", 5, 9, " IR-PCI  0-edge  a"), "ERR:          7\n");
        try (InterruptTicks ticks = new InterruptTicks(HostFiles.at(root))) {
            ticks.read();
            write(row("24", 5, 9, " IR-PCI  0-edge  a"), "ERR:         19\n");
            assertThat(ticks.read()).isTrue();
            assertThat(ticks.grew("ERR")).isEqualTo(12);
            assertThat(ticks.grew("24")).isZero();
        }
    }

    /** One CPU goes offline and another one comes: a column is that of another CPU. */
    @Test
    void countsOfOtherCpusBeginAgain() throws IOException {
        write(row("24", 5, 9, "x"));
        try (InterruptTicks ticks = new InterruptTicks(HostFiles.at(root))) {
            ticks.read();
            assertThat(ticks.beginsAgain()).isFalse();
            Files.writeString(file, HEAD.replace("CPU2", "CPU3") + row("24", 5, 5_000_009, "x"));
            assertThat(ticks.read()).isFalse();
            assertThat(ticks.beginsAgain()).isTrue();
            assertThat(ticks.grew("24")).isZero();
            assertThat(ticks.read()).isTrue();
            assertThat(ticks.beginsAgain()).isFalse();
        }
    }

    /** Reads of /proc/interrupts end anywhere: here also in the middle of a count. */
    @Test
    void countAcrossTwoPiecesIsOneCount() throws IOException {
        String[] rows = new String[40_000];
        for (int i = 0; i < rows.length; i++) {
            rows[i] = row(String.valueOf(100_000 + i), 1_111_111_111, 1_111_111_111, "x");
        }
        write(rows);
        try (InterruptTicks ticks = new InterruptTicks(HostFiles.at(root))) {
            ticks.read();
            for (int i = 0; i < rows.length; i++) {
                rows[i] = row(String.valueOf(100_000 + i), 2_222_222_222L, 1_111_111_111, "x");
            }
            write(rows);
            assertThat(ticks.read()).isTrue();
            assertThat(ticks.parsed()).isEqualTo(rows.length);
            for (int i = 0; i < rows.length; i++) {
                assertThat(ticks.grew(String.valueOf(100_000 + i)))
                        .as("row " + i)
                        .isEqualTo(1_111_111_111);
            }
        }
    }

    @Test
    void fileThatIsNotThereHasNoRow() {
        try (InterruptTicks ticks = new InterruptTicks(HostFiles.of(Map.of(), Map.of()))) {
            ticks.read();
            assertThat(ticks.names()).isEmpty();
        }
    }
}
