/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.testing.CpuTime;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files that are long or deep cost neither much time nor an answer. The limits are far above what is needed. */
class HostileFilesTest {
    private static final Duration LIMIT = Duration.ofSeconds(20);
    private static final PciAddress DEVICE = PciAddress.parse("0000:00:04.0");

    @TempDir
    private Path temporary;

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Of 4096 irqs and 1024 CPUs: what VFIO has armed stands near the end. */
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
        HostFacts directory = new HostFacts(HostFiles.of(temporary));
        assertThat(directory.interrupts().orElseThrow().armed(DEVICE)).hasSize(1);
    }

    /** Half a table is none. */
    @Test
    void textThatWouldBeCutIsNotRead() {
        String path = "sys/kernel/debug/iommu/amd/irqtbl";
        HostFacts host = new HostFacts(HostFiles.of(Map.of(path, new byte[HostFiles.LONGEST_TEXT + 1]), Map.of()));
        assertThat(host.debugfs("iommu/amd/irqtbl", "nothing"))
                .isEqualTo(new Fact.Unknown<>("/" + path + " is longer than 32 MiB and is not read", "none"));
    }

    @Test
    void lineWithoutAnEndIsLeftOut() {
        byte[] text = new byte[40 << 20];
        Arrays.fill(text, (byte) ' ');
        HostFacts host = new HostFacts(HostFiles.of(Map.of("proc/interrupts", text), Map.of()));
        assertThat(host.interrupts().orElseThrow().armed()).isEmpty();
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
