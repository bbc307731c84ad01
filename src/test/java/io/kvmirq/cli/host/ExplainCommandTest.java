/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.PciAddress;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Verdict;
import io.kvmirq.diag.screens.Archive;
import io.kvmirq.diag.screens.Capture;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.Doctor;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.host.facts.Sight;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Recorded;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Hosts with guests, and what is explained of their devices, letter by letter. */
class ExplainCommandTest {
    private static final String AMD = "0000:00:02.0";
    /** Files of a VMM that removes the route of vector 1. */
    @TempDir
    private Path temporary;

    private Cli.Ended of(RecordedHost host, String... arguments) throws IOException {
        List<String> all = new ArrayList<>(
                List.of("explain", "--from", host.archive(temporary).toString()));
        all.addAll(List.of(arguments));
        return Cli.run(all.toArray(String[]::new));
    }

    @ParameterizedTest
    @CsvSource({
        "intel-posted,         0000:00:01.0, 0",
        "intel-nopost,         0000:00:01.0, 0",
        "intel-without-pi,     0000:00:01.0, 0",
        "amd-avic,             0000:00:02.0, 0",
        "amd-pit,              0000:00:02.0, 17",
        "amd-legacy,           0000:00:02.0, 0",
        "nested-without-iommu, 0000:00:02.0, 10",
        "gicv3,                0000:00:01.0, 0",
        "gicv4,                0000:00:01.0, 0",
        "intx-shared,          0000:00:02.0, 0",
        "intx-exclusive,       0000:00:02.0, 0",
        "group-not-viable,     0000:00:02.0, 10",
        "plain-user,           0000:00:02.0, 0"
    })
    void textIsAsRecorded(String host, String device, int exitCode) throws IOException {
        Path root = Files.createTempDirectory(temporary, "host");
        GuestHosts.of(host).writeTo(root);
        Cli.Ended printed = Cli.run("explain", "--root", root.toString(), device);
        assertThat(printed.out())
                .isEqualTo(Recorded.text(ExplainCommandTest.class, "explain-" + host + ".txt", printed.out()));
        assertThat(printed.err()).isEmpty();
        assertThat(printed.exitCode()).isEqualTo(exitCode);
    }

    /** A capture has what explain reads. */
    @ParameterizedTest
    @CsvSource({"intel-posted, 0000:00:01.0", "amd-pit, 0000:00:02.0", "gicv4, 0000:00:01.0"})
    void captureIsExplainedAsItsHost(String host, String device) throws IOException {
        Path root = Files.createTempDirectory(temporary, "host");
        Path archive = temporary.resolve("archive.zip");
        try (OutputStream out = Files.newOutputStream(archive)) {
            Archive.write(Capture.take(GuestHosts.of(host).writeTo(root), Capture::analysis, false), out);
        }
        assertThat(Cli.run("explain", "--from", archive.toString(), device).out())
                .isEqualTo(Cli.golden(ExplainCommandTest.class, "explain-" + host + ".txt"));
    }

    /** Counts differ between captures of a host that does not change, and are no difference. */
    @Test
    void twoCapturesAreComparedByTheirPaths() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        String earlier = Files.createDirectory(temporary.resolve("earlier")).toString();
        host.writeTo(Path.of(earlier));
        String later = Files.createDirectory(temporary.resolve("later")).toString();
        host.put("sys/bus/pci/devices/0000:00:02.0/power_state", "D3hot\n").writeTo(Path.of(later));
        Cli.Ended same = Cli.run("explain", "--from", earlier, "--against", earlier, AMD);
        assertThat(same.exited(0).out()).endsWith("\nno path differs from the earlier capture\n");
        String[] differ = {"explain", "--from", later, "--against", earlier, AMD};
        assertThat(Cli.run(differ).exited(18).out())
                .contains(
                        "\nsince the earlier capture\n  0000:00:02.0 MSI-X 0 and 4 more, device: ok D0 → broken D3hot "
                                + "function.asleep\n");
        assertThat(Cli.run("explain", "--from", later, "--against", earlier, AMD, "0", "--json")
                        .out())
                .contains(
                        "\"changes\":[{\"device\":\"0000:00:02.0\",\"interrupt\":\"MSI-X 0\",\"at\":\"device\",\"before\":\"ok D0\"");
        assertThat(Cli.run("explain", "--against", earlier, AMD).exited(2).err())
                .contains("add --from");
    }

    /** /proc/interrupts counts what any driver of the host handles, in the forms before and since Linux 6.2. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                "  36:  1616070   6  PCI-MSIX-0000:00:05.0    1-edge      virtio1-input.0",
                "  36:  1616070   6  PCI-MSI 81921-edge      virtio1-input.0",
                "  36:  1616070   6  ITS-MSI 81921 Edge      virtio1-input.0"
            })
    void countOfAnotherDriverIsNotZero(String row) throws IOException {
        RecordedHost host = GuestHosts.of("nested-without-iommu");
        String others = host.tree()
                .text("proc/interrupts")
                .orElse("")
                .lines()
                .filter(line -> !line.contains("0000:00:05.0"))
                .collect(Collectors.joining("\n"));
        host.put("proc/interrupts", others + "\n" + row + "\n");
        assertThat(of(host, "0000:00:05.0", "1").out()).contains("  the host handled it 1616076 times");
        assertThat(of(host, "0000:00:05.0", "0").out())
                .contains("its host irq is not visible")
                .doesNotContain("handled it 0");
    }

    @Test
    void deviceOfTheHostIsNamedSo() throws IOException {
        RecordedHost host = GuestHosts.of("nested-without-iommu")
                .put("proc/self/mountinfo", "22 1 254:0 / / rw - ext4 /dev/vda rw\n")
                .link("sys/dev/block/254:0", "../../devices/pci0000:00/0000:00:05.0/virtio1/block/vda");
        assertThat(of(host, "0000:00:05.0").exited(10).out())
                .contains("the host driver virtio-pci is bound to it, the root file system is on it; ");
    }

    /** A script that forgot root must not see 0. */
    @Test
    void hostOfWhichNothingIsSeenIsNotWhole() throws IOException {
        RecordedHost host = GuestHosts.of("plain-user").remove("proc/interrupts");
        assertThat(of(host, AMD).exited(ExitCode.COULD_NOT_RUN).out())
                .contains("/proc/interrupts cannot be read\n")
                .endsWith("no link is visible (exit code 3)\n");
        assertThat(of(host, AMD, "--json").exited(ExitCode.COULD_NOT_RUN).out()).endsWith("\"exitCode\":3}\n");
    }

    /** A guest may have the name of a device, of another guest or of a process; a name may end the line of a monitor. */
    @Test
    void guestIsNotTakenForAnother() throws IOException {
        RecordedHost host = PlantedFaultsTest.host("posted")
                .put("proc/300/comm", "0000:00:01.0\n")
                .put("proc/300/status", "State:\tT (stopped)\n")
                .link("proc/300/fd/4", "anon_inode:kvm-vm");
        assertThat(of(host, "--all").out())
                .startsWith(
                        "guest 0000:00:01.0 (process 300) is stopped at the VMM: process 300 is stopped by a signal\n");
        assertThat(of(host.put("proc/300/comm", "web\n"), "--all").out())
                .startsWith("guest web (process 300) is stopped at the VMM: process 300 is stopped by a signal\n"
                        + "all 5 interrupts of guest web (process 100) are posted\n");
        assertThat(of(host.put("proc/300/comm", "100\n"), "--vm", "100")
                        .exited(0)
                        .out())
                .startsWith("all 5 interrupts of guest web are posted\n");
        assertThat(of(host.put("proc/300/comm", "a|x\n"), "--all", "--nagios")
                        .exited(2)
                        .out())
                .startsWith("KVMIRQ CRITICAL: guest a?x is stopped at the VMM")
                .hasLineCount(1);
        assertThat(of(host, "--all", "--json").out())
                .contains(
                        "\"flaws\":[{\"guest\":\"a|x\",\"pid\":300,\"device\":null,\"hop\":\"vmm\",\"rule\":\"vmm.stopped\"");
    }

    /** A path's last line is said of it alone; on a screen that scrolled, the verdict is the last line, too. */
    @Test
    void verdictOfAnotherGuestIsNotThatOfAPath() throws IOException {
        RecordedHost host = PlantedFaultsTest.host("posted")
                .put("proc/300/comm", "db\n")
                .put("proc/300/status", "State:\tT (stopped)\n")
                .link("proc/300/fd/4", "anon_inode:kvm-vm");
        host.writeTo(temporary);
        List<String> lines = onTerminal(24);
        assertThat(lines.get(0)).isEqualTo("guest db is stopped at the VMM: process 300 is stopped by a signal");
        assertThat(lines)
                .contains("first broken link: VMM (exit code 19)")
                .last()
                .isEqualTo(lines.get(1));
        assertThat(lines.indexOf("first broken link: VMM (exit code 19)"))
                .isGreaterThan(lines.indexOf("db (process 300)  other interrupts"));
        assertThat(lines.get(lines.indexOf("db (process 300)  other interrupts") - 1))
                .startsWith("nothing visible is broken (");
        assertThat(onTerminal(lines.size())).hasSize(lines.size() - 2).last().isNotEqualTo(lines.get(1));
        assertThat(onTerminal(0)).hasSize(lines.size() - 2);
    }

    private List<String> onTerminal(int rows) {
        return Cli.onRows(rows, "explain", "--all", "--root", temporary.toString())
                .exited(19)
                .out()
                .lines()
                .toList();
    }

    /** Covers both commands whose sentences are long. */
    @Test
    void linesFitOnATerminalAndKeepTheirIndent() throws IOException {
        HostFacts host = new HostFacts(GuestHosts.of("amd-pit").tree());
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        PrintStream stream = new PrintStream(out, true, StandardCharsets.UTF_8);
        Terminal terminal = new Terminal(stream, stream, false, 100, 0, 100, 0, "");
        List<InterruptPath> chains =
                DeviceChains.read(host, host.pci(PciAddress.parse(AMD)).orElseThrow());
        Verdict verdict = Verdict.judge(chains, List.of(), List.of());
        ExplainText text = new ExplainText(terminal);
        text.verdicts(ExplainText.headlines(chains, List.of(), verdict));
        text.print(chains, verdict);
        String explained = out.toString(StandardCharsets.UTF_8);
        assertThat(explained.replaceAll("\\s+", " "))
                .isEqualTo(Cli.golden(ExplainCommandTest.class, "explain-amd-pit.txt")
                        .replaceAll("\\s+", " "));
        assertThat(explained.lines()).allMatch(line -> line.length() <= 100);
        assertThat(explained)
                .contains("\n                            do: start QEMU", "\n                              ");

        out.reset();
        DoctorText.print(
                Doctor.examine(host, EnumSet.of(Check.AVIC_INHIBITS, Check.LIMITS)), false, true, List.of(), terminal);
        assertThat(out.toString(StandardCharsets.UTF_8).lines()).allMatch(line -> line.length() <= 100);
        assertThat(out.toString(StandardCharsets.UTF_8))
                .contains("\n         VMM flag: start QEMU", "\n           name=");
    }

    private RecordedHost pit() throws IOException {
        return GuestHosts.of("amd-pit");
    }

    /** The line of the broken link. */
    private static String failing(String out) {
        return out.lines().filter(line -> line.contains(" broken ")).findFirst().orElse("");
    }

    /** As the kernel shows an irq that never came and has no handler: not at all. */
    @Test
    void vectorThatWasNeverUsedBreaksNothing() throws IOException {
        String unused = of(withoutHandler(pit(), ""), AMD).exited(17).out();
        assertThat(unused)
                .startsWith(
                        "4 of 5 interrupts of guest web are not posted, although this host supports posting: AVIC is"
                                + " inhibited for")
                .contains("  also MSI-X 2 (host irq 29), not used\n");
        assertThat(of(withoutHandler(pit(), ""), AMD, "2").exited(0).out())
                .contains("  device vector  not used   VFIO has not armed MSI-X 2, but has armed other vectors of the"
                        + " device, so the guest masks this one or does not use it [observed: /proc/interrupts]\n")
                .endsWith("nothing visible is broken; the interrupt is not used\n");
    }

    /** A vector that has failed after others, and one that is not used before it. */
    @Test
    void unusedVectorHidesNoFault() throws IOException {
        RecordedHost host =
                withoutHandler(GuestHosts.of("amd-avic"), "").put("sys/kernel/debug/irq/irqs/31", "ddepth:   1\n");
        assertThat(of(host, AMD).exited(10).out())
                .startsWith(
                        "MSI-X 4 of 0000:00:02.0 (one of 5 interrupts of guest web) is lost at the host irq: the irq"
                                + " is disabled")
                .endsWith("first broken link: host irq (exit code 10)\n");
    }

    /** The row of MSI-X 2 has the end {@code row}: no row if that is empty. */
    private static RecordedHost withoutHandler(RecordedHost host, String row) {
        String without = host.tree()
                .text("proc/interrupts")
                .orElse("")
                .lines()
                .map(line -> line.contains("vfio-msix[2]") ? row : line)
                .collect(Collectors.joining("\n"));
        return host.put("proc/interrupts", without + "\n")
                .put("sys/kernel/irq/29/chip_name", "IR-PCI-MSIX-0000:00:02.0\n")
                .put("sys/kernel/irq/29/hwirq", "2\n");
    }

    /** The kernel shows an irq without a handler while it has a count. */
    @Test
    void vectorThatIsNoLongerArmedIsInDoubt() throws IOException {
        RecordedHost host = withoutHandler(
                GuestHosts.of("amd-avic"), "  29:          4          3  IR-PCI-MSIX-0000:00:02.0   2-edge      ");
        Cli.Ended printed = of(host, AMD, "2").exited(0);
        assertThat(printed.out())
                .startsWith("MSI-X 2 of 0000:00:02.0 (guest web) is in doubt at the device vector: VFIO has not armed"
                        + " MSI-X 2,")
                .contains("  host irq       ok         29: allocated, without a VFIO handler"
                        + " [observed: /sys/kernel/irq/29/hwirq]\n")
                .contains(
                        "  device vector  doubtful   VFIO has not armed MSI-X 2, although it fired 7 times: the VMM removed its"
                                + " eventfd, as it does for a vector that the guest disables [observed: /proc/interrupts]\n")
                .endsWith("nothing visible is broken; in doubt: device vector (exit code 31 with --strict)\n");
        assertThat(of(host, AMD, "3", "--strict").exitCode()).isZero();
        assertThat(of(host, AMD, "2", "--strict").exitCode()).isEqualTo(31);
    }

    @Test
    void missingKvmVfioDeviceBreaksNothing() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic").remove("proc/100/fd/6");
        assertThat(of(host, AMD).exited(0).out())
                .contains("  note: process 100 has no KVM-VFIO device to register the VM's device with KVM");
    }

    @Test
    void processWithoutAVmBreaksNothing() throws IOException {
        RecordedHost host = pit().remove("proc/100/fd/5");
        assertThat(of(host, AMD, "0").exited(0).out())
                .contains(
                        ": process 100 (qemu-system-x86) has the device or its group open but holds no VM, so it is not"
                                + " a"
                                + " VMM, or its VM is in another process")
                .doesNotContain("kill that process", " broken  ");
    }

    @Test
    void processWithoutEventfdsBreaksTheEventfd() throws IOException {
        assertThat(failing(
                        of(pit().remove("proc/100/fd/2"), AMD, "0").exited(12).out()))
                .isEqualTo("  eventfd        broken     process 100 has no eventfd open [observed: /proc/100/fd]");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "-machine q35,kernel-irqchip=off             | the VM has no in-kernel LAPICs",
                "-accel kvm,kernel_irqchip=off               | the VM has no in-kernel LAPICs",
                "-global vfio-pci.x-no-kvm-msix=on -device vfio-pci,host=00:02.0 | no irqfd listens to the eventfd, so the"
                        + " VMM delivers the interrupt itself",
                "-global driver=vfio-pci,property=x-no-kvm-msix,value=yes | no irqfd listens to the eventfd, so the VMM"
                        + " delivers the interrupt itself",
                "-device vfio-pci,host=00:02.0,x-no-kvm-msix=on | no irqfd listens to the eventfd, so the VMM delivers"
                        + " the interrupt itself",
                "-device {\"driver\":\"vfio-pci\",\"host\":\"0000:00:02.0\",\"x-no-kvm-msix\":true} | no irqfd listens to"
                        + " the eventfd, so the VMM delivers the interrupt itself"
            })
    void userSpaceThatDeliversBreaksTheIrqfd(String options, String text) throws IOException {
        RecordedHost host = GuestHosts.guest(pit(), "02", "/usr/bin/qemu-system-x86_64 " + options);
        Cli.Ended printed = of(host, AMD, "0").exited(13);
        assertThat(failing(printed.out())).isEqualTo("  irqfd          broken     " + text);
        assertThat(printed.out()).contains("  can be posted  no         " + text + "\n");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "-device vfio-pci,host=00:02.0,x-no-kvm-msix=on,x-no-kvm-msix=off",
                "-global vfio-pci.x-no-kvm-msix=on -device vfio-pci,host=00:02.0,x-no-kvm-msix=off",
                "-global vfio-pci.x-no-kvm-msi=on -device vfio-pci,host=00:02.0",
                "-device vfio-pci,host=00:03.0,x-no-kvm-msix=on -device vfio-pci,host=00:02.0"
            })
    void lastSettingOfTheDeviceDecides(String options) throws IOException {
        RecordedHost host = GuestHosts.guest(pit(), "02", "/usr/bin/qemu-system-x86_64 " + options);
        assertThat(of(host, AMD, "0").out())
                .contains("  not shown      irqfd, GSI, guest vector: no file shows KVM's irqfds or routes\n");
    }

    /** An irqfd may listen to an eventfd that is in an epoll too. */
    @Test
    void eventfdsThatTheProcessWaitsForMayHaveAnIrqfd() throws IOException {
        RecordedHost host = pit().link("proc/100/fd/30", "anon_inode:[eventpoll]");
        StringBuilder polled = new StringBuilder("pos:\t0\n");
        for (int fd = 20; fd < 25; fd++) {
            polled.append("tfd: ").append(fd).append(" events: 19 data: 0 pos:0 ino:1 sdev:1\n");
        }
        host.put("proc/100/fdinfo/30", polled.toString());
        assertThat(of(host, AMD, "0").exited(17).out())
                .contains("  eventfd        not shown  VFIO does not show which eventfd of process 100 it signals"
                        + " (descriptors 20, 21, 22, 23, 24, all in its epoll sets)\n");
    }

    /** An irqfd drains its eventfd since Linux 5.11. QEMU's main loop waits by ppoll(), which no file shows. */
    @Test
    void eventfdThatNothingReadsIsRemarkedOfAVmmThatWaitsByEpoll() throws IOException {
        RecordedHost host = GuestHosts.guest(pit(), "02", "/usr/bin/cloud-hypervisor --kernel vmlinux")
                .put("proc/100/fdinfo/21", "eventfd-count:                3\neventfd-id: 2\n")
                .link("proc/100/fd/30", "anon_inode:[eventpoll]")
                .put("proc/100/fdinfo/30", "pos:\t0\ntfd: 20 events: 19 data: 0 pos:0 ino:1 sdev:1\n");
        assertThat(of(host, AMD, "0").out()).doesNotContain("has count");
        host.put("proc/100/comm", "vmm\n");
        assertThat(of(host, AMD, "0").out())
                .contains("  note: eventfd id 2 of process 100 has count 3 because nothing has read it\n");
        host.put("proc/version", "Linux version 5.10.0-30-amd64 (a@b)\n");
        assertThat(of(host, AMD, "0").out())
                .contains(
                        "  note: it is not known whether anything reads eventfd id 2 of process 100, because the kernel's"
                                + " version")
                .doesNotContain("has count");
        host.put("proc/version", "Linux version 5.10.200 (a@b)\n");
        assertThat(of(host, AMD, "0").out()).doesNotContain("has count").doesNotContain("resets the count");
    }

    /** Each way of QEMU and libvirt to a VM without that PIT. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "qemu-system-x86_64 -M pc                                                    | 17",
                "qemu-system-x86_64                                                          | 17",
                "qemu-system-x86_64 -machine type=q35,accel=kvm                              | 17",
                "qemu-system-x86_64 -machine q35 -global kvm-pit.lost_tick_policy=delay      | 17",
                "qemu-system-x86_64 -machine q35 -global kvm-pit.lost_tick_policy=discard    | 0",
                "qemu-system-x86_64 -global driver=kvm-pit,property=lost_tick_policy,value=discard | 0",
                "qemu-system-x86_64 -machine pc-q35-9.2,kernel_irqchip=split                 | 0",
                "qemu-system-x86_64 -machine q35 -accel kvm,kernel-irqchip=split             | 0",
                "qemu-system-x86_64 -machine q35,pit=off                                     | 0",
                "qemu-system-x86_64 -M microvm                                               | 0",
                "qemu-system-x86_64 -M microvm,kernel-irqchip=on                             | 17",
                "qemu-system-x86_64 -M microvm -object sev-snp-guest,id=sev0                 | 17",
                "lkvm run --name web                                                         | 17",
                "cloud-hypervisor --kernel vmlinux                                           | 0"
            })
    void avicIsInhibitedByThePitThatTheVmmCreates(String commandLine, int exitCode) throws IOException {
        of(GuestHosts.guest(pit(), "02", commandLine), AMD).exited(exitCode);
    }

    /** On Intel the entry posts whatever inhibits APICv; the PIT is none of its reasons. */
    @Test
    void pitInhibitsNothingOnIntel() throws IOException {
        assertThat(of(GuestHosts.of("intel-posted"), "0000:00:01.0").exited(0).out())
                .contains("  can be posted  yes  ", "  entry posts    yes  ");
    }

    @Test
    void entryOfTheIrqIsTheOneThatCounts() throws IOException {
        RecordedHost host = GuestHosts.of("intel-posted");
        String path = "sys/kernel/debug/iommu/intel/ir_translation_struct";
        String text = host.tree().text(path).orElse("") + "\n";
        // IM is bit 15 of the low word.
        host.put(path, text.replace("04e2a0c000418001", "04e2a0c000410001"));
        assertThat(of(host, "0000:00:01.0", "0").out())
                .contains("  entry posts    not shown  4 of the device's 5 IRTEs are in posted form\n");
        // irq_debug_show_data() in kernel/irq/debugfs.c
        host.put(
                "sys/kernel/debug/irq/irqs/27",
                "handler:  handle_edge_irq\ndomain:  IR-PCI-MSI-0\n hwirq:   0x4000\n"
                        + " parent:\n    domain:  INTEL-IR-0-13\n     hwirq:   0x180000\n     chip:    INTEL-IR\n");
        assertThat(of(host, "0000:00:01.0", "0").out())
                .contains("  entry posts    no         the IRTE names a host CPU (remapped form)");
        host.put("sys/kernel/debug/irq/irqs/28", " domain:  INTEL-IR-0-13\n  hwirq:   0x190000\n");
        assertThat(of(host, "0000:00:01.0", "1").out())
                .contains("  entry posts    yes        the IRTE names a vCPU (posted form)");
    }

    /** Nothing shows whether the guest uses AutoEOI, and yet something can be done. */
    @Test
    void possibleInhibitSaysWhatToDoAndWhatShowsIt() throws IOException {
        RecordedHost host = GuestHosts.guest(
                GuestHosts.of("amd-avic"),
                "02",
                "/usr/bin/qemu-system-x86_64 -M q35,kernel-irqchip=split"
                        + " -cpu host,hv-synic -device vfio-pci,host=00:02.0");
        assertThat(of(host, AMD, "0").exited(0).out())
                .contains(
                        "do: start QEMU with hv-apicv in -cpu (libvirt: <avic state='on'/> in <hyperv>), which advises"
                                + " the guest"
                                + " not to use AutoEOI (needs a VMM restart; risk: none known)\n",
                        "to see it: watch the tracepoint kvm_apicv_inhibit_changed\n");
    }

    /** dump_128_irte() in drivers/iommu/amd/debugfs.c; GuestMode is bit 7 of the low word, the second of a line. */
    @Test
    void tableOfAmdCountsOnlyWhileItShowsTheDevice() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        String rows = "IRT[0000] 0000000000000022 0000000000000081\nIRT[0001] 0000000000000023 0000000000000081\n";
        host.put("sys/kernel/debug/iommu/amd/irqtbl", "DeviceId 0000:00:02.0\n" + rows);
        assertThat(of(host, AMD, "0").out())
                .contains("  entry posts    yes        each of the device's 2 IRTEs is in posted form ");
        host.put("sys/kernel/debug/iommu/amd/irqtbl", "DeviceId 0000:00:03.0\n" + rows);
        assertThat(of(host, AMD, "0").out())
                .contains("  entry posts    not shown  /sys/kernel/debug/iommu/amd/irqtbl does not show this device\n")
                .contains("to see it: run echo 0000:00:02.0 > /sys/kernel/debug/iommu/amd/devid, and look again\n");
    }

    /** vgic_its_debug_show() in arch/arm64/kvm/vgic/vgic-its-debug.c, from Linux 6.16 on. */
    @Test
    void itsOfTheGuestShowsLpiAndVcpu() throws IOException {
        RecordedHost host = GuestHosts.of("gicv4");
        StringBuilder rows = new StringBuilder(
                "Device ID: 0x8, Event ID Range: [0 - 7]\n" + "EVENT_ID    INTID  HWINTID   TARGET   COL_ID HW\n");
        for (int event = 0; event < 5; event++) {
            rows.append(event).append(' ').append(8257 + event).append(" 0 0 0 1\n");
        }
        host.put("sys/kernel/debug/kvm/100-5/vgic-its-state@8080000", rows.toString());
        assertThat(of(host, "0000:00:01.0", "3").exited(0).out())
                .contains(
                        "  guest vector   ok         LPI 8260: a vLPI of the guest's ITS\n",
                        "  vCPU           ok         vcpu 0: ");
    }

    /** kvm_create_vm_debugfs() names the directory after the thread, which in a JVM is never the first one. */
    @Test
    void vmOfAnyThreadIsFoundInDebugfs() throws IOException {
        RecordedHost host = GuestHosts.of("gicv4");
        String state = host.tree().text("sys/kernel/debug/kvm/100-5/vgic-state").orElse("") + "\n";
        host.remove("sys/kernel/debug/kvm/100-5")
                .put("proc/100/task/103/comm", "main\n")
                .put("sys/kernel/debug/kvm/103-5/vgic-state", state);
        assertThat(of(host, "0000:00:01.0", "3").exited(0).out())
                .contains("  entry posts    yes        5 LPIs of the VM");
    }

    @Test
    void unsafeInterruptsAreToldAndCannotPost() throws IOException {
        RecordedHost host = pit();
        host.put(
                        "proc/interrupts",
                        host.tree().text("proc/interrupts").orElse("").replace("IR-", "") + "\n")
                .put("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n");
        assertThat(of(host, AMD, "0").exited(0).out())
                .contains("  can be posted  no         the host does not remap interrupts [")
                .contains("  note: allow_unsafe_interrupts is set");
    }

    @Test
    void unsafeInterruptsAreToldOfADeviceWithoutInterrupts() throws IOException {
        RecordedHost host = pit().remove("proc/interrupts")
                .remove("sys/bus/pci/devices/" + AMD + "/msi_irqs")
                .put("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n");
        assertThat(of(host, AMD).out())
                .startsWith("all interrupts of 0000:00:02.0 (guest web) are not visible: no readable file shows the"
                        + " path\n")
                .contains("  note: allow_unsafe_interrupts is set");
    }

    /** The first obstacle is the host's; the next one is told too. */
    @Test
    void pitIsToldWhereTheHostCannotPost() throws IOException {
        RecordedHost host = pit().put("sys/module/kvm_amd/parameters/avic", "N\n");
        assertThat(of(host, AMD, "0").exited(0).out())
                .endsWith("; the interrupt cannot be posted\n")
                .contains("  can be posted  no         KVM does not virtualize the APIC [")
                .contains("  note: on a host that posts, AVIC would be inhibited for this VM: QEMU's machine ")
                .contains("; to change that, start QEMU with -global kvm-pit.lost_tick_policy=discard ");
        assertThat(of(pit(), AMD, "0").out()).doesNotContain("on a host that posts");
    }

    @Test
    void interruptsOfAGuestAreExplained() throws IOException {
        assertThat(of(pit(), "--vm", "web").exited(17).out())
                .startsWith("all 5 interrupts of guest web are not posted, although this host supports posting: AVIC is"
                        + " inhibited"
                        + " for")
                .contains("\n0000:00:02.0  MSI-X 0  → web (process 100)\n");
        assertThat(of(pit(), "--vm", "100").exitCode()).isEqualTo(17);
        assertThat(of(pit(), "--all")).isEqualTo(of(pit(), "--vm", "web"));
        assertThat(of(pit(), "web")).isEqualTo(of(pit(), "--vm", "web"));
        assertThat(of(RecordedHost.of("amd-6.12"), "--all").exited(0).out())
                .as("armed, and the program is not seen")
                .startsWith("all 5 interrupts of 0000:00:02.0 are delivered by KVM (not posted: ");
        RecordedHost empty = RecordedHost.of("amd-6.12").put("proc/interrupts", "           CPU0\n");
        assertThat(of(empty, "--all"))
                .isEqualTo(new Cli.Ended(ExitCode.COULD_NOT_RUN, "", "kvmirq: no visible process has a VM open\n"));
        assertThat(of(empty, "--all", "--nagios").exited(0).out())
                .isEqualTo("KVMIRQ OK: no VFIO PCI device is assigned\n");
        assertThat(of(empty.link("proc/self/ns/pid", "pid:[4026532700]"), "--all", "--nagios")
                        .exited(3)
                        .out())
                .startsWith("KVMIRQ UNKNOWN: no guest is visible; kvmirq runs in its own pid namespace");
        assertThat(of(pit(), "--vm", "mail", "--nagios").exited(3).out())
                .startsWith("KVMIRQ UNKNOWN: no guest 'mail' is visible");
        assertThat(of(pit(), "--vm", "mail"))
                .isEqualTo(new Cli.Ended(
                        ExitCode.COULD_NOT_RUN,
                        "",
                        "kvmirq: no guest 'mail' is visible: use one of 'web' (process 100), or a process id\n"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "0000:00:02.7   | 3 | there is no PCI device 0000:00:02.7; the closest on its bus are 0000:00:03.0,"
                        + " 0000:00:02.0,"
                        + " 0000:00:04.0: 'kvmirq vfio' lists the devices",
                "0000:00:02.0 5 | 3 | 0000:00:02.0 has no vector 5: expected INTx, MSI 0, MSI-X 0 to 4",
                "0000:00:02.0 x | 2 | 'x' is not a vector: expected a number from 0 to 2047, such as 3. See kvmirq explain --help",
                "00:02.g        | 2 | '00:02.g' is not a PCI address: expected DOMAIN:BUS:DEVICE.FUNCTION, such as"
                        + " 0000:3b:00.0. See kvmirq explain --help",
                "--json         | 2 | expected a device address, such as 0000:3b:00.0, or --vm and a guest"
                        + " name: 'kvmirq list --all' shows both. See kvmirq explain --help",
                "999            | 3 | VFIO has armed no host irq 999: 'kvmirq list --all' shows the armed irqs",
                "web 3          | 2 | a vector belongs to a device: expected a device address before '3', such as"
                        + " 0000:3b:00.0. See kvmirq explain --help",
                "--vm web 02:00.0 | 2 | --vm, --all and an address are mutually exclusive: use one of them. See kvmirq"
                        + " explain --help"
            })
    void wrongQuestionIsRefused(String arguments, int exitCode, String sentence) throws IOException {
        Cli.Ended printed = of(pit(), arguments.split(" ")).exited(exitCode);
        assertThat(printed.out()).isEmpty();
        assertThat(printed.err().replaceFirst(" --from [^ ']+'", "'")).isEqualTo("kvmirq: " + sentence + "\n");
    }

    @Test
    void hostIrqStandsForItsVector() throws IOException {
        List<HostInterrupts.ArmedVector> armed =
                new HostInterrupts(pit().tree().text("proc/interrupts").orElseThrow()).armed();
        assertThat(armed).hasSizeGreaterThan(1);
        for (HostInterrupts.ArmedVector vector : armed) {
            assertThat(of(pit(), String.valueOf(vector.irq().number())))
                    .isEqualTo(of(pit(), AMD, String.valueOf(vector.vector())));
        }
    }

    @Test
    void namesOfAHostStayText() throws IOException {
        RecordedHost host = GuestHosts.guest(pit(), "02", "/usr/bin/qemu-system-x86_64 -name \033[2Jx\ny");
        Cli.Ended printed = of(host, AMD);
        assertThat(printed.out()).contains("→ ?[2Jx?y (process 100)").doesNotContain("\033");
        assertThat(of(host, AMD, "--json").out()).contains("\"guest\":\"\\u001B[2Jx\\ny (process 100)\"");
    }

    @Test
    void jsonHasEachLinkAndAnswer() throws IOException {
        Cli.Ended printed = of(pit(), AMD, "1", "--json").exited(17);
        assertThat(printed.out())
                .isEqualTo(Recorded.text(ExplainCommandTest.class, "explain-amd-pit.json", printed.out()));
    }

    /** Absent, refused, locked down and hidden are four things, and a program need not read the sentence to tell them. */
    @Test
    void whyALinkIsNotShownHasAType() throws IOException {
        String power = "sys/bus/pci/devices/" + AMD + "/power_state";
        assertThat(unseen(GuestHosts.of("amd-avic").remove(power), Hop.DEVICE)).contains(Known.Reason.ABSENT);
        assertThat(unseen(GuestHosts.of("amd-avic").remove(power).deny(power), Hop.DEVICE))
                .contains(Known.Reason.REFUSED);
        RecordedHost container = GuestHosts.of("amd-avic").remove("proc/100");
        assertThat(unseen(container, Hop.VMM)).isEmpty();
        assertThat(unseen(container.link("proc/self/ns/pid", "pid:[4026532700]"), Hop.VMM))
                .containsExactly(Known.Reason.HIDDEN);
    }

    /** Integrity, which Secure Boot sets, leaves kernel memory and tracefs to root. */
    @ParameterizedTest
    @CsvSource({
        "none [integrity] confidentiality, sys/kernel/debug/kvm, LOCKED_DOWN",
        "none [integrity] confidentiality, proc/kcore, REFUSED",
        "none [integrity] confidentiality, sys/kernel/tracing/instances, REFUSED",
        "none integrity [confidentiality], proc/kcore, LOCKED_DOWN",
        "none integrity [confidentiality], sys/kernel/tracing, LOCKED_DOWN",
        "none integrity [confidentiality], sys/kernel/debug/kvm, LOCKED_DOWN",
        "[none] integrity confidentiality, sys/kernel/debug/kvm, REFUSED"
    })
    void lockdownRefusesWhatItsModeHides(String mode, String path, Known.Reason reason) throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic").put("sys/kernel/security/lockdown", mode + "\n");
        assertThat(Sight.read(host.tree()).<String>refused(path).reason()).isEqualTo(reason);
    }

    private static List<Known.Reason> unseen(RecordedHost recorded, Hop<?> hop) {
        HostFacts host = new HostFacts(recorded.tree());
        PciDevice device = host.pci(PciAddress.parse(AMD)).orElseThrow();
        return DeviceChains.read(host, device, 0).link(hop).orElseThrow().unseen();
    }

    private static Link broken(Hop<?> hop) {
        return Link.of(hop, Link.State.BROKEN, Evidence.observed("x"), Optional.empty(), "y", List.of());
    }

    /** Help and page promise the exit code of each hop that a link can break at, and no other. */
    @Test
    void exitCodesAreThoseOfHopsThatBreak() throws IOException {
        String help = Cli.run("help", "explain").exited(0).out();
        String page = Files.readString(Machine.root().resolve("src/docs/command.md"));
        int begin = page.indexOf("Exit codes:");
        String codes = page.substring(begin, page.indexOf("\n```\n", begin));
        List<Hop<?>> breaking = new ArrayList<>(Hop.all());
        breaking.remove(Hop.GUEST_VECTOR);
        for (Hop<?> hop : breaking) {
            assertThat(help).containsOnlyOnce("\n   " + ExitCode.of(hop) + "  ");
            assertThat(codes)
                    .contains(
                            hop == Hop.POSTING
                                    ? " 17  explain: no link"
                                    : ExitCode.of(hop) + "  explain: the first broken link is the " + hop.label());
            assertThat(broken(hop).hop()).isEqualTo(hop);
        }
        assertThat(help).doesNotContain("guest vector\n").doesNotContain("\n   15 ");
        assertThat(codes).doesNotContain("guest vector").doesNotContain("15");
        assertThatThrownBy(() -> broken(Hop.GUEST_VECTOR))
                .hasMessage("a guest vector is whole or not shown, and no exit code says more");
    }
}
