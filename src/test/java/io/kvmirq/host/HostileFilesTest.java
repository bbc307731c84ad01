/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Known;
import io.kvmirq.testing.CpuTime;
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Files that are long or deep cost neither much time nor an answer. The limits are far above what is needed. */
class HostileFilesTest {
    private static final Duration LIMIT = Duration.ofSeconds(20);
    private static final PciAddress DEVICE = PciAddress.parse("0000:00:04.0");

    @TempDir
    private Path temporary;

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** A file with 4096 irqs and 1024 CPUs, where VFIO's vectors stand near the end. */
    private static byte[] longInterrupts() {
        byte[] rows = bytes(" 26: " + " ".repeat(110) + "1  IR-PCI-MSI  0-edge  nvme0q1\n");
        byte[] last = bytes(" 27:  5  IR-PCI-MSI  0-edge  vfio-msix[0](0000:00:04.0)\n");
        int count = HostFiles.LONGEST_TEXT / rows.length + 1;
        byte[] text = new byte[count * rows.length + last.length];
        for (int i = 0; i < count; i++) {
            System.arraycopy(rows, 0, text, i * rows.length, rows.length);
        }
        System.arraycopy(last, 0, text, count * rows.length, last.length);
        return text;
    }

    @Test
    void interruptsThatAreLongAreReadToTheirEnd() throws Exception {
        byte[] text = longInterrupts();
        HostFacts memory = new HostFacts(HostFiles.of(Map.of("proc/interrupts", text), Map.of()));
        assertThat(memory.interrupts().orElseThrow().armed(DEVICE)).hasSize(1);
        Files.createDirectories(temporary.resolve("proc"));
        Files.write(temporary.resolve("proc/interrupts"), text);
        HostFacts directory = new HostFacts(HostFiles.at(temporary));
        assertThat(directory.interrupts().orElseThrow().armed(DEVICE)).hasSize(1);
    }

    /** Such as a sparse file of a copy, or one that grows while it is read. */
    @Test
    void interruptsWithoutAnEndAreRefused() {
        long[] read = new long[1];
        InputStream endless = new InputStream() {
            @Override
            public int read() {
                read[0]++;
                return 0;
            }

            @Override
            public int read(byte[] bytes, int at, int length) {
                read[0] += length;
                assertThat(read[0]).isLessThan(2 * HostInterrupts.LONGEST_FILE);
                return length;
            }
        };
        assertThatThrownBy(() -> HostInterrupts.read(endless))
                .isInstanceOf(UncheckedIOException.class)
                .hasRootCauseMessage(
                        "/proc/interrupts is longer than 512 MiB, or grows while it is read: expected a copy"
                                + " of the kernel's file; copy it again");
    }

    @ParameterizedTest
    @ValueSource(strings = {"explain 0000:00:04.0", "list", "doctor", "doctor --check irqchip", "vfio", "capture"})
    void eachCommandRefusesASparseFileInOneSentence(String command) throws Exception {
        Path file = temporary.resolve("proc/interrupts");
        Files.createDirectories(file.getParent());
        Path device = Files.createDirectories(temporary.resolve("sys/bus/pci/devices/0000:00:04.0"));
        Files.writeString(device.resolve("vendor"), "0x8086\n");
        try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
            sparse.setLength(10L << 30);
        }
        Cli.Ended ended = Cli.run((command + " --root " + temporary).split(" "));
        ended.exited(3);
        assertThat(ended.err()).startsWith("kvmirq: /proc/interrupts is longer than 512 MiB, or grows ");
        assertThat(ended.err().lines()).hasSize(1);
    }

    /** Each rule that reads the irqs asks for it. */
    @Test
    void fileThatWasRefusedIsNotReadAgain() throws IOException {
        Path file = Files.createDirectories(temporary.resolve("proc")).resolve("interrupts");
        try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
            sparse.setLength(HostInterrupts.LONGEST_FILE + 1);
        }
        HostFacts host = new HostFacts(HostFiles.at(temporary));
        assertThatThrownBy(host::interrupts).isInstanceOf(UncheckedIOException.class);
        Files.delete(file);
        assertThatThrownBy(host::interrupts).isInstanceOf(UncheckedIOException.class);
    }

    /** For tar, files of /proc have 0 bytes; a damaged copy may have any. */
    @ParameterizedTest
    @ValueSource(strings = {"", "\0\0\0", "           CPU0\n"})
    void interruptsWithoutARowAreNotShown(String text) throws IOException {
        Files.createDirectories(temporary.resolve("proc"));
        Files.createDirectories(temporary.resolve("sys/bus/pci/devices"));
        Files.writeString(temporary.resolve("proc/interrupts"), text);
        String root = temporary.toString();
        Cli.Ended listed = Cli.run("list", "--root", root).exited(3);
        assertThat(listed.err())
                .isEqualTo("kvmirq: /proc/interrupts cannot be read, or is empty, as in a copy made by tar: copy it"
                        + " with cat\n");
        assertThat(Cli.run("doctor", "--check", "remapping", "--root", root).out())
                .matches("(?s)UNKNOWN +remapping +/proc/interrupts cannot be read\n.*");
    }

    /** Half a table is none. */
    @Test
    void textThatWouldBeCutIsNotRead() {
        String path = "sys/kernel/debug/iommu/amd/irqtbl";
        HostFacts host = new HostFacts(HostFiles.of(Map.of(path, new byte[HostFiles.LONGEST_TEXT + 1]), Map.of()));
        assertThat(host.debugfs("iommu/amd/irqtbl", "nothing"))
                .isEqualTo(new Known.Unknown<>(
                        Known.Reason.NOT_ASKED, "/" + path + " is longer than 32 MiB and is not read", "none"));
    }

    @Test
    void lineWithoutAnEndIsLeftOut() {
        byte[] text = new byte[40 << 20];
        Arrays.fill(text, (byte) ' ');
        byte[] row = bytes("\n 27:  5  IO-APIC  22-fasteoi  vfio-intx(0000:00:04.0)\n");
        System.arraycopy(row, 0, text, text.length - row.length, row.length);
        HostFacts host = new HostFacts(HostFiles.of(Map.of("proc/interrupts", text), Map.of()));
        assertThat(host.interrupts().orElseThrow().armed()).hasSize(1);
    }

    @Test
    void directoriesOfAnArchiveAreListedWithoutReadingAllNames() {
        Map<String, byte[]> files = new HashMap<>();
        for (int pid = 1; pid <= 20_000; pid++) {
            files.put("proc/" + pid + "/comm", bytes("x\n"));
            files.put("proc/" + pid + "/fdinfo/3", bytes("x\n"));
        }
        HostFiles tree = HostFiles.of(files, Map.of("proc/7/fd/3", "anon_inode:kvm-vm"));
        assertThat(tree.list("proc/7")).containsExactly("comm", "fd", "fdinfo");
        CpuTime.within(LIMIT, () -> assertThat(new HostFacts(tree).vms().all()).hasSize(1));
    }

    @Test
    void handlersOfOneLineAreSplitOnce() {
        StringBuilder row = new StringBuilder(" 27:  5  IO-APIC  22-fasteoi  vfio-intx(0000:00:04.0)");
        for (int i = 0; i < 24_000; i++) {
            row.append(", vfio-intx(0000:00:04.0)");
        }
        CpuTime.within(
                LIMIT, () -> assertThat(new HostInterrupts(row + "\n").armed()).hasSizeBetween(1, 1000));
    }

    @Test
    void devicesThatAreStackedHighAreFollowed() {
        Map<String, byte[]> files = new HashMap<>();
        Map<String, String> links = new HashMap<>();
        files.put("proc/self/mountinfo", bytes("22 1 0:30 / / rw - ext4 /dev/dm-0 rw\n"));
        int last = 6000;
        for (int i = 0; i < last; i++) {
            links.put("sys/class/block/dm-" + i, "../../devices/virtual/block/dm-" + i);
            links.put("sys/class/block/dm-" + i + "/slaves/dm-" + (i + 1), "../../dm-" + (i + 1));
        }
        links.put("sys/class/block/dm-" + last, "../../devices/pci0000:00/0000:00:04.0/block/sda");
        assertThat(new HostFacts(HostFiles.of(files, links)).uses(DEVICE))
                .containsExactly("the root file system is on it");
    }
}
