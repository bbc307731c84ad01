/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.testing.TinyVmm;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Debian's kernel, unmodified, under src/examples/tiny-vmm drives devices of the host: those that the lab's machine has,
 * passed through. The lab runs it only by name, as {@link LinuxBootTest}; then its machine has a disk and a network.
 */
@RealKvm
class LinuxDevicesTest {
    private static final Path KERNEL = Path.of("/guest/kernel");
    private static final Path INITRAMFS = Path.of("/guest/devices");
    private static final Path BOUND = Path.of("/sys/bus/pci/drivers/vfio-pci");
    static final boolean IS_ARM64 = Machine.arm64Flaw().isEmpty();
    private static final int READS = Math.min(10_000, Integer.getInteger("kvmirq.test.forward.fired", 10_000));
    private static final int FEW = READS / 10;
    /** Rows of messages in the guest's /proc/interrupts; those of Linux 7.2 begin with ITS-PCI-MSIX. */
    private static final String MESSAGES = IS_ARM64 ? "ITS-(PCI-)?MSI" : "PCI-MSI";

    static final String NVME = "0x1b36:0x0010";
    static final String E1000E = "0x8086:0x10d3";

    /** The address of a device that is bound to vfio-pci. */
    static String address(String ids) throws IOException {
        assumeTrue(Files.exists(INITRAMFS), "needs a kernel that KVM can boot, and devices: make lab has them");
        assumeTrue(IS_ARM64 || Machine.irqchipFlaw().isEmpty(), "needs KVM's whole irqchip, of x86 or of arm64");
        try (var bound = Files.list(BOUND)) {
            for (Path device :
                    bound.filter(path -> Files.exists(path.resolve("vendor"))).toList()) {
                String found = Files.readString(device.resolve("vendor")).strip() + ":"
                        + Files.readString(device.resolve("device")).strip();
                if (found.equals(ids)) {
                    return device.getFileName().toString();
                }
            }
        }
        throw new AssertionError("no device " + ids + " is bound to vfio-pci");
    }

    /** Debian's QEMU with the same kernel: on x86 it needs firmware, too. */
    static List<String> qemu(String append, String... more) {
        Path vmm = Path.of("vmm", IS_ARM64 ? "aarch64" : "x86_64").toAbsolutePath();
        assumeTrue(Files.isDirectory(vmm), "needs QEMU in " + vmm + ": make lab runs this");
        String machine = IS_ARM64 ? "virt,gic-version=3,highmem=off" : "q35,smm=off -bios qboot.rom";
        List<String> command = new ArrayList<>(List.of(("env LD_LIBRARY_PATH=" + vmm + "/lib " + vmm
                        + "/qemu-system-" + vmm.getFileName() + " -L " + vmm + " -accel kvm -cpu host -smp 2 -m 256"
                        + " -nodefaults -no-user-config -display none -no-reboot -kernel /guest/kernel -initrd "
                        + INITRAMFS + " -machine " + machine)
                .split(" ")));
        command.addAll(List.of(more));
        command.addAll(
                List.of("-append", "console=tty" + (IS_ARM64 ? "AMA0" : "S0") + " panic=-1 quiet noxsave " + append));
        return command;
    }

    /** The same kernel under tiny-vmm, in a process of its own as scripts/tiny-vmm starts it. */
    static List<String> tinyVmm(String append, String... more) {
        String classes = Machine.root().resolve("target/examples") + ":" + System.getProperty("java.class.path");
        List<String> command = new ArrayList<>(List.of(
                System.getProperty("java.home") + "/bin/java",
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-cp",
                classes,
                "tinyvmm.TinyVmm"));
        command.addAll(
                List.of("--kernel", KERNEL.toString(), "--initramfs", INITRAMFS.toString(), "--interrupts", "0"));
        command.addAll(List.of(more));
        command.addAll(List.of("--append", "panic=-1 quiet noxsave " + append));
        return command;
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
            assertThat(left(address(ids))).as("left of the VM and the device").isEmpty();
            return ended.out();
        }
    }

    /** Files of KVM and VFIO that this process has open, and the host's rows of the device's interrupts. */
    private static List<String> left(String device) throws IOException {
        List<String> left = new ArrayList<>(Files.readAllLines(Path.of("/proc/interrupts")).stream()
                .filter(row -> row.contains("vfio") && row.contains(device))
                .toList());
        try (var files = Files.list(Path.of("/proc/self/fd"))) {
            for (Path file : files.filter(Files::isSymbolicLink).toList()) {
                String name = Files.exists(file) ? Files.readSymbolicLink(file).toString() : "";
                if (name.matches(".*(kvm-|vfio).*")) {
                    left.add(name);
                }
            }
        }
        return left;
    }

    /** What scripts/lab/boot keeps as guest.log. */
    private static OutputStream console() throws IOException {
        Path kept =
                Path.of(System.getProperty("kvmirq.test.summary"), System.getProperty("kvmirq.test.run") + ".guest");
        return Files.newOutputStream(kept, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    static List<String> counts(String console) {
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

    /** The host's rows of the device and of the guest's vCPUs, each time that these are looked at. */
    private static final class HostCounts implements AutoCloseable {
        /** The interrupts of the device that all processors of the host took. */
        private final Set<Long> seen = new ConcurrentSkipListSet<>();
        /** The first and the last count of each row. */
        private final Map<String, List<Long>> rows = new ConcurrentSkipListMap<>();

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
                    List<String> all = Files.readAllLines(Path.of("/proc/interrupts"));
                    all.stream().filter(row -> row.contains("GICv4-vpe")).forEach(this::count);
                    seen.add(all.stream()
                            .filter(row -> row.contains("vfio") && row.contains(device))
                            .mapToLong(this::count)
                            .sum());
                }
            } catch (IOException | InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }

        /** One column for each processor is behind the number, and the name of the interrupt is last. */
        private long count(String row) {
            List<String> words = List.of(row.strip().split(" +"));
            long count = words.stream()
                    .skip(1)
                    .takeWhile(word -> word.matches("\\d+"))
                    .mapToLong(Long::parseLong)
                    .sum();
            String name = words.get(0) + " " + words.get(words.size() - 1);
            rows.merge(name, List.of(count, count), (old, now) -> List.of(old.get(0), now.get(1)));
            return count;
        }

        @Override
        public void close() {
            looks.interrupt();
        }

        /** For the log: the count of each row before and after. */
        @Override
        public String toString() {
            StringBuilder table = new StringBuilder();
            rows.forEach((name, counts) ->
                    table.append(String.format("host: %-40s %6d → %d%n", name, counts.get(0), counts.get(1))));
            return table.toString();
        }
    }

    /** The guest stands still after it has printed its count, which the host's is then. */
    @Test
    void nvmeByMsixLosesNoInterrupt() throws Exception {
        try (HostCounts host = new HostCounts(address(NVME))) {
            String console = run("nvme", NVME, "reads=" + READS, "--boots", "2", "--pause", "500");
            if (Machine.hasVlpis()) {
                // A vLPI that was held may have been pending, so that it is delivered once more
                assertThat(counts(console)).hasSize(6);
                assertThat(console).contains(READS + "+0 records in", FEW + "+0 records in");
            } else {
                assertThat(counts(console))
                        .as("the host counted %s while the guest ran", host.seen)
                        .containsExactly(
                                "boot 1: " + READS,
                                "moved: " + FEW,
                                "reset: " + FEW,
                                "boot 2: " + FEW,
                                "moved: " + FEW,
                                "reset: " + FEW);
                assertThat(host.seen).contains(taken(console));
            }
            assertThat(taken(console)).isGreaterThan(READS);
            assertThat(console)
                    .contains("guest: reset by flr")
                    .containsPattern(MESSAGES)
                    .containsPattern("its queues took \\d{2,} \\d{2,}")
                    .doesNotContain("timeout, ");
        }
    }

    /** Hardware takes each message to the guest, and the host counts none. */
    @Test
    void messagesOfNvmeAreVlpis() throws Exception {
        assumeTrue(Machine.hasVlpis(), "needs a GICv4");
        try (HostCounts host = new HostCounts(address(NVME))) {
            String console = run("nvme", NVME, "reads=" + READS);
            try (PrintStream kept = new PrintStream(console(), true, StandardCharsets.UTF_8)) {
                kept.print(host);
            }
            assertThat(counts(console)).containsExactly("boot 1: " + READS, "moved: " + FEW, "reset: " + FEW);
            assertThat(console).containsPattern(MESSAGES).doesNotContain("timeout, ");
            assertThat(host.seen).as("%s", host).containsExactly(0L);
        }
        Machine.assumeProgram("dmesg");
        Process log = new ProcessBuilder("dmesg").redirectErrorStream(true).start();
        assertThat(new String(log.getInputStream().readAllBytes(), StandardCharsets.UTF_8))
                .doesNotContain("WARNING:");
    }

    /**
     * Each read ends by an interrupt. A line that is unmasked, or moved, may interrupt once more, or once for two reads.
     */
    @ParameterizedTest
    @ValueSource(strings = {"full", "split"})
    void nvmeByIntxLosesNoInterrupt(String irqchip) throws Exception {
        assumeTrue(!IS_ARM64 || irqchip.equals("full"), "a GIC is whole");
        int reads = READS / 5;
        String console = run("nvme", NVME, "pci=nomsi reads=" + reads, "--irqchip", irqchip, "--pause", "500");
        assertThat(counts(console)).hasSize(3);
        assertThat(console)
                .contains(reads + "+0 records in", reads / 10 + "+0 records in", "guest: reset by flr")
                .containsPattern(IS_ARM64 ? "GICv3 +33 Edge.*ttyS0" : " 4: .*IO-APIC.*ttyS0")
                .containsPattern(IS_ARM64 ? "GICv3 +40 Level.*nvme" : "16: .*IO-APIC.*nvme")
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
