/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.ManyGuests;
import io.kvmirq.host.facts.RecordedHost;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A host with 4096 irqs and 512 CPUs, whose /proc/interrupts has 23 MB; and hosts with thousands of vectors of guests. */
class BigHostIT {
    private static final int IRQS = 4096;
    private static final int CPUS = 512;
    private static final int VECTORS = 64;
    private static final String CONFIG = "sys/bus/pci/devices/0000:00:04.0/config";
    private static final int FIRST = 100;

    @TempDir
    private Path temporary;

    @ParameterizedTest
    @CsvSource({"16, 132", "3, 1367"})
    void eachVectorOfManyGuestsIsListedIn128Megabytes(int guests, int vectors) throws Exception {
        ManyGuests.of(guests, vectors).writeTo(temporary);
        int all = guests * vectors;
        Cli.Ended list = Cli.jvm("-Xmx128m").execute("list", "--all", "--root", temporary.toString());
        assertThat(list.exited(0).out().lines())
                .hasSizeGreaterThan(all)
                .filteredOn(line -> line.matches("\\d+ +0000:\\S+ +MSI-X \\d+ +guest\\d+ +21 .*"))
                .hasSize(all);
        Cli.Ended explained = Cli.jvm("-Xmx128m").execute("explain", "--all", "--root", temporary.toString());
        assertThat(explained.exited(0).out())
                .startsWith("all " + all + " interrupts of all guests are free of visible flaws");
    }

    /** As {@code show_interrupts()} in kernel/irq/proc.c prints it. */
    private void writeInterrupts() throws IOException {
        String counts = String.format("%10d ", 4711).repeat(CPUS);
        try (BufferedWriter out = Files.newBufferedWriter(temporary.resolve("proc/interrupts"))) {
            out.write(" ".repeat(12));
            for (int cpu = 0; cpu < CPUS; cpu++) {
                out.write(String.format("CPU%-8d", cpu));
            }
            out.write("\n");
            for (int irq = 0; irq < IRQS; irq++) {
                int vector = irq - FIRST;
                boolean ours = vector >= 0 && vector < VECTORS;
                out.write(String.format("%4d: ", irq));
                out.write(counts);
                out.write(
                        ours
                                ? " IR-PCI-MSIX-0000:00:04.0  " + vector + "-edge      vfio-msix[" + vector
                                        + "](0000:00:04.0)\n"
                                : " IR-PCI-MSIX-0000:00:06.0  " + irq + "-edge      nvme0q" + irq + "\n");
            }
        }
    }

    @Test
    void deviceWith64VectorsIsExplainedIn128Megabytes() throws Exception {
        RecordedHost host =
                GuestHosts.guest(GuestHosts.of("amd-pit"), "04", "/usr/bin/qemu-system-x86_64 -name web -machine q35");
        byte[] config = host.tree().bytes(CONFIG, 4096).orElseThrow();
        int msix = config[0x34];
        while (config[msix] != 0x11) {
            msix = config[msix + 1];
        }
        config[msix + 3] |= (byte) 0x80; // VFIO has enabled it
        config[4] |= 6; // and the guest memory decoding and bus mastering
        host.putBytes(CONFIG, config);
        for (int irq = FIRST; irq < FIRST + VECTORS; irq++) {
            host.put("proc/irq/" + irq + "/spurious", "count 1\nunhandled 0\nlast_unhandled 0 ms\n")
                    .put("proc/irq/" + irq + "/smp_affinity_list", "0\n")
                    .put("proc/irq/" + irq + "/effective_affinity_list", "0\n");
        }
        host.writeTo(temporary);
        writeInterrupts();
        assertThat(Files.size(temporary.resolve("proc/interrupts"))).isGreaterThan(23_000_000);
        Cli.Ended printed = Cli.jvm("-Xmx128m").execute("explain", "--root", temporary.toString(), "0000:00:04.0");
        assertThat(printed.err()).isEmpty();
        assertThat(printed.out().lines()).allMatch(line -> line.length() <= 200);
        assertThat(printed.exited(17).out())
                .contains("\n0000:00:04.0  MSI-X 0  → web (process 100)\n")
                .contains("  host irq       ok         100: chip IR-PCI-MSIX-0000:00:04.0, handled 2412032 times")
                .contains("  also MSI-X 1 to MSI-X 63 (host irq 101 to 163), with the same result\n");
    }
}
