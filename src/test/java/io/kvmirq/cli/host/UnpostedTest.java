/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.RecordedHost;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** An interrupt that a host can post and does not: explain says it by its exit code, and doctor warns. */
class UnpostedTest {
    private static final String INTEL_TABLE = "sys/kernel/debug/iommu/intel/ir_translation_struct";
    private static final String AMD_TABLE = "sys/kernel/debug/iommu/amd/irqtbl";
    private static final String VGIC = "sys/kernel/debug/kvm/100-5/vgic-state";
    private static final int VECTORS = 5;

    @TempDir
    private Path temporary;

    private static RecordedHost host(String name, int remapped) throws IOException {
        return switch (name) {
            case "intel" -> withIndexes(intel(remapped));
            case "intel without indexes" -> intel(remapped);
            case "intel, nopost" ->
                withIndexes(intel(remapped)).put("proc/cmdline", "intel_iommu=on intremap=nopost\n");
            case "intel, not known to post" ->
                withIndexes(intel(remapped)).remove("sys/module/kvm_intel/parameters/enable_apicv");
            case "intel, user without a VM" -> withIndexes(intel(remapped)).remove("proc/100/fd/5");
            case "amd, another VMM" -> amd("amd-avic", remapped).put("proc/100/cmdline", "/usr/bin/java\0Vmm\0");
            case "arm" -> {
                RecordedHost host = GuestHosts.of("gicv4");
                // print_irq_state() in arch/arm64/kvm/vgic/vgic-debug.c: H is the 5th flag
                yield remapped == 0
                        ? host
                        : host.put(VGIC, host.tree().text(VGIC).orElseThrow().replace("0001101", "0001001"));
            }
            case "gicv3" -> GuestHosts.of(name);
            default -> amd(name, remapped);
        };
    }

    /** The first {@code remapped} entries have the remapped form: IM, bit 15 of the low word, is 0. */
    private static RecordedHost intel(int remapped) throws IOException {
        RecordedHost host = GuestHosts.of("intel-posted");
        String table = host.tree().text(INTEL_TABLE).orElseThrow() + "\n";
        for (int i = 1; i <= remapped; i++) {
            table = table.replace(String.format("04e2a0c0004%d8001", i), String.format("04e2a0c0004%d0001", i));
        }
        return host.put(INTEL_TABLE, table);
    }

    /** As {@code irq_debug_show_data()} in kernel/irq/debugfs.c prints the entry of each irq. */
    private static RecordedHost withIndexes(RecordedHost host) {
        for (int i = 0; i < VECTORS; i++) {
            host.put(
                    "sys/kernel/debug/irq/irqs/" + (27 + i),
                    String.format("ddepth:   0\n domain:  INTEL-IR-0-13\n  hwirq:   0x%x0000%n", 24 + i));
        }
        return host;
    }

    /** GuestMode is bit 7 of the low word, the second of a line. */
    private static RecordedHost amd(String name, int remapped) throws IOException {
        StringBuilder table = new StringBuilder("DeviceId 0000:00:02.0\n");
        for (int i = 0; i < VECTORS; i++) {
            table.append(String.format("IRT[%04d] %016x %016x%n", i, 0x22 + i, i < remapped ? 1 : 0x81));
        }
        return GuestHosts.of(name).put(AMD_TABLE, table.toString());
    }

    private static Cli.Ended run(Path root, String... words) {
        List<String> all = new ArrayList<>(List.of(words));
        all.addAll(List.of("--root", root.toString()));
        return Cli.run(all.toArray(String[]::new));
    }

    /** A host, how many of its five entries are remapped, the exit code, and what {@code explain} and doctor say. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "intel | 0 | 0",
                "intel | 1 | 17",
                "intel | 5 | 17",
                "intel without indexes | 0 | 0",
                "intel without indexes | 1 | 0",
                "intel without indexes | 5 | 17",
                "intel, nopost | 5 | 0",
                "intel, not known to post | 5 | 0",
                "amd-avic | 0 | 0",
                "amd-avic | 1 | 0",
                "amd-avic | 5 | 17",
                "amd, another VMM | 0 | 0",
                "amd, another VMM | 5 | 17",
                "amd-pit | 5 | 17",
                "amd-legacy | 5 | 0",
                "arm | 0 | 0",
                "arm | 5 | 17",
                "gicv3 | 5 | 0"
            })
    void whatAHostCanPostAndDoesNotIsSaid(String name, int remapped, int code) throws IOException {
        Path root = Files.createTempDirectory(temporary, "host");
        host(name, remapped).writeTo(root);
        String device = name.startsWith("amd") ? "0000:00:02.0" : "0000:00:01.0";

        Cli.Ended explained = run(root, "explain", device);
        explained.exited(code);
        assertThat(explained.out().contains("not posted (exit code 17)")).isEqualTo(code != 0);
        assertThat(run(root, "explain", device, "0").exitCode()).isEqualTo(code);
        assertThat(run(root, "explain", "--vm", "100", "--strict").exitCode()).isEqualTo(code);

        Cli.Ended doctor = run(root, "doctor", "--check", "paths");
        assertThat(doctor.exited(0).out()).startsWith(code == 0 ? "PASS" : "WARN");
        assertThat(run(root, "doctor", "--check", "paths", "--strict").exitCode())
                .isEqualTo(code);
    }

    @Test
    void theVectorAndTheReasonAreNamed() throws IOException {
        Path root = Files.createTempDirectory(temporary, "host");
        host("intel", 1).writeTo(root);
        assertThat(run(root, "doctor", "--check", "paths").out())
                .contains(
                        "0000:00:01.0 MSI-X 0 is not posted, although this host supports posting: the IRTE names a host"
                                + " CPU (remapped form)");
        assertThat(run(root, "explain", "0000:00:01.0").out())
                .contains("0000:00:01.0  MSI-X 0 ", "have the guest direct the vector to exactly one of the VM's vCPUs")
                .contains("also MSI-X 1 to MSI-X 4 (host irqs 28, 29, 30, 31), without a visible flaw");
        assertThat(run(root, "explain", "0000:00:01.0", "1").exitCode()).isZero();
    }

    /** A driver in user space, as DPDK has, has no vCPU to which an interrupt could be posted. */
    @Test
    void interruptOfNoVmIsNotAccused() throws IOException {
        Path root = Files.createTempDirectory(temporary, "host");
        host("intel, user without a VM", VECTORS).writeTo(root);
        run(root, "explain", "0000:00:01.0").exited(0);
        assertThat(run(root, "doctor", "--check", "paths").exited(0).out()).startsWith("PASS");
    }
}
