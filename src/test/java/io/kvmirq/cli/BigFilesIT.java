/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A file that needs more memory than Java has: one sentence, and no trace. The interrupts are read in little memory. */
class BigFilesIT {
    @TempDir
    private Path temporary;

    private static void isOneSentence(Cli.Ended ended) {
        ended.exited(3);
        assertThat(ended.err().lines())
                .singleElement()
                .asString()
                .startsWith("kvmirq: could not run: not enough memory: Java gives this command ")
                .contains("JAVA_TOOL_OPTIONS=-Xmx1g");
    }

    @Test
    void debugfsFileOf16MegabytesInAHeapOf64() throws Exception {
        Path file = temporary.resolve("vgic-state");
        try (BufferedWriter out = Files.newBufferedWriter(file)) {
            out.write("Distributor\n===========\nvgic_model:\tGICv3\nnr_spis:\t0\nnr_lpis:\t1\nenabled:\t1\n");
            for (int lpi = 8192; Files.size(file) < (16 << 20) - 65536; lpi++) {
                out.write("   LPI " + lpi + "    0 0001101 0       0        0      160      -1\n");
            }
        }
        isOneSentence(Cli.jvm("-Xmx64m").execute("decode", "vgic-state", file.toString()));
    }

    @Test
    void interruptsOf32MegabytesInAHeapOf64() throws Exception {
        Files.createDirectories(temporary.resolve("sys/bus/pci/devices/0000:00:02.0"));
        Files.createDirectories(temporary.resolve("proc"));
        Path file = temporary.resolve("proc/interrupts");
        try (BufferedWriter out = Files.newBufferedWriter(file)) {
            while (Files.size(file) < 32 << 20) {
                out.write(" 24:".repeat(2048));
            }
        }
        Cli.Ended ended = Cli.jvm("-Xmx64m").execute("vfio", "--root", temporary.toString());
        ended.exited(0);
        assertThat(ended.out()).contains("posting is not known", "/proc/interrupts cannot be read");
        assertThat(ended.err()).isEmpty();
    }
}
