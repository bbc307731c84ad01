/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.RealKvm;
import io.kvmirq.testing.TinyVmm;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Debian's kernel, unmodified, under src/examples/tiny-vmm drives devices of the host: those that the lab's machine has,
 * passed through. The lab runs it only by name, as {@link LinuxBootTest}; then its machine has a disk and a network.
 */
@RealKvm(fullIrqchip = true)
class LinuxDevicesTest {
    private static final Path KERNEL = Path.of("/guest/kernel");
    private static final Path INITRAMFS = Path.of("/guest/devices");
    private static final Path BOUND = Path.of("/sys/bus/pci/drivers/vfio-pci");
    private static final int READS = Math.min(10_000, Integer.getInteger("kvmirq.test.forward.fired", 10_000));
    private static final int FEW = READS / 10;
    private static final String NVME = "0x1b36:0x0010";
    private static final String E1000E = "0x8086:0x10d3";

    /** The address of a device that is bound to vfio-pci. */
    private static String address(String ids) throws IOException {
        assumeTrue(Files.exists(INITRAMFS), "needs a kernel that KVM can boot, and devices: make lab has them");
        try (var bound = Files.list(BOUND)) {
            for (Path device :
                    bound.filter(one -> Files.exists(one.resolve("vendor"))).toList()) {
                String found = Files.readString(device.resolve("vendor")).strip() + ":"
                        + Files.readString(device.resolve("device")).strip();
                if (found.equals(ids)) {
                    return device.getFileName().toString();
                }
            }
        }
        throw new AssertionError("no device " + ids + " is bound to vfio-pci");
    }

    private static String run(String device, String ids, String append, String... more) throws Exception {
        List<String> arguments = new ArrayList<>(List.of(
                "--kernel",
                KERNEL.toString(),
                "--initramfs",
                INITRAMFS.toString(),
                "--interrupts",
                "0",
                "--device",
                address(ids),
                "--append",
                "quiet noxsave device=" + device + " " + append));
        arguments.addAll(Arrays.asList(more));
        try (OutputStream console = console()) {
            TinyVmm.Ended ended = TinyVmm.run(console, InputStream.nullInputStream(), arguments.toArray(String[]::new));
            assertThat(ended.out()).contains("the guest turned itself off; ").doesNotContain("left with");
            assertThat(ended.status()).isZero();
            return ended.out();
        }
    }

    /** What scripts/lab/boot keeps as guest.log. */
    private static OutputStream console() throws IOException {
        Path kept =
                Path.of(System.getProperty("kvmirq.test.summary"), System.getProperty("kvmirq.test.run") + ".guest");
        return Files.newOutputStream(kept, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    private static List<String> counts(String console) {
        return Pattern.compile("guest: ([^:\\n]*:) (\\d+) interrupts")
                .matcher(console)
                .results()
                .map(found -> found.group(1) + " " + found.group(2))
                .toList();
    }

    private static long taken(String console) {
        return Pattern.compile("guest: nvme took (\\d+) interrupts")
                .matcher(console)
                .results()
                .mapToLong(found -> Long.parseLong(found.group(1)))
                .findFirst()
                .orElseThrow();
    }

    /** How many interrupts of the device all processors of the host took, each time that this is looked at. */
    private static final class HostCounts implements AutoCloseable {
        private final Set<Long> seen = new ConcurrentSkipListSet<>();
        private final String device;
        private final Thread looks = new Thread(this::look);

        HostCounts(String device) {
            this.device = device;
            looks.start();
        }

        private void look() {
            try {
                while (true) {
                    Thread.sleep(1000);
                    seen.add(Files.readAllLines(Path.of("/proc/interrupts")).stream()
                            .filter(row -> row.contains("vfio") && row.contains(device))
                            .flatMap(row -> Arrays.stream(row.strip().split(" +"))
                                    .skip(1)
                                    .takeWhile(word -> word.matches("\\d+"))) // one column for each processor
                            .mapToLong(Long::parseLong)
                            .sum());
                }
            } catch (IOException | InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }

        @Override
        public void close() {
            looks.interrupt();
        }
    }

    /** The guest stands still after it has printed its count, which the host's is then. */
    @Test
    void nvmeByMsixLosesNoInterrupt() throws Exception {
        try (HostCounts host = new HostCounts(address(NVME))) {
            String console = run("nvme", NVME, "reads=" + READS, "--boots", "2", "--pause", "500");
            assertThat(counts(console))
                    .as("the host counted %s while the guest ran", host.seen)
                    .containsExactly(
                            "boot 1: " + READS,
                            "moved: " + FEW,
                            "reset: " + FEW,
                            "boot 2: " + FEW,
                            "moved: " + FEW,
                            "reset: " + FEW);
            assertThat(taken(console)).isGreaterThan(READS);
            assertThat(host.seen).contains(taken(console));
            assertThat(console)
                    .contains("PCI-MSI", "guest: reset by flr")
                    .containsPattern("its queues took \\d{2,} \\d{2,}")
                    .doesNotContain("timeout, ");
        }
    }

    /**
     * Each read ends by an interrupt. A line that is unmasked, or moved, may interrupt once more, or once for two reads.
     */
    @ParameterizedTest
    @ValueSource(strings = {"full", "split"})
    void nvmeByIntxLosesNoInterrupt(String irqchip) throws Exception {
        int reads = READS / 5;
        String console = run("nvme", NVME, "pci=nomsi reads=" + reads, "--irqchip", irqchip, "--pause", "500");
        assertThat(counts(console)).hasSize(3);
        assertThat(console)
                .contains(reads + "+0 records in", reads / 10 + "+0 records in", "guest: reset by flr")
                .containsPattern(" 4: .*IO-APIC.*ttyS0")
                .containsPattern("16: .*IO-APIC.*nvme")
                .doesNotContain("timeout, ", "nobody cared");
    }

    @Test
    void e1000eReachesTheGateway() throws Exception {
        String console = run("e1000e", E1000E, "", "--pause", "500");
        assertThat(console)
                .contains("guest: carrier 1")
                .contains("20 packets transmitted, 20 packets received")
                .contains("100 packets transmitted, 100 packets received");
    }
}
