/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.RecordedHost;
import java.io.IOException;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Changes of a host, in words. Each row plants one change in a host of Intel, AMD or arm64. */
class HostChangesTest {
    private static final String INTERRUPTS = "proc/interrupts";
    private static final String IRQS = "sys/bus/pci/devices/0000:00:02.0/msi_irqs/";
    private static final String SPURIOUS = "count 0\nunhandled 0\nlast_unhandled 0 ms\n";
    private static final String WORKER = "proc/105/";

    private static Capture capture(RecordedHost host) {
        return Capture.of(host.tree(), Capture::analysis, false);
    }

    private static List<String> changes(RecordedHost before, RecordedHost after) {
        return HostChanges.of(capture(before).tree(), capture(after).tree()).stream()
                .map(Object::toString)
                .toList();
    }

    private static String text(RecordedHost host, String path) {
        return host.tree().text(path).orElseThrow() + "\n";
    }

    private static Arguments row(String host, UnaryOperator<RecordedHost> change, String... sentences) {
        return Arguments.of(host, change, List.of(sentences));
    }

    private static RecordedHost affinity(RecordedHost host, int cpu) {
        return host.put("proc/irq/30/effective_affinity_list", cpu + "\n")
                .put("proc/irq/31/effective_affinity_list", cpu + "\n");
    }

    private static UnaryOperator<RecordedHost> interrupts(String from, String to) {
        return host -> host.put(INTERRUPTS, text(host, INTERRUPTS).replaceAll(from, to));
    }

    static Stream<Arguments> changes() {
        String web = " of 0000:00:02.0 (web) ";
        String pit = "AVIC is inhibited, so the entry stays remapped: the PIT reinjects lost ticks";
        return Stream.of(
                row("amd-avic", host -> affinity(host, 1), "MSI-X 3 to 4" + web + "moved from CPU 0 to CPU 1"),
                row(
                        "amd-avic",
                        host -> host.put(
                                "proc/100/cmdline",
                                "/usr/bin/qemu-system-x86_64\0-name\0web\0-machine\0pc-q35-9.2,kernel_irqchip=on\0"),
                        "check avic-inhibits is WARN now, was ...",
                        "MSI-X 0 to 4" + web + "is not posted now: " + pit),
                row(
                        "amd-pit",
                        host -> host.put("sys/module/kvm_amd/parameters/avic", "N\n"),
                        "check posting is WARN now, was PASS: ...",
                        "check avic-inhibits is still WARN, for another reason now: posting is off on this host...",
                        "MSI-X 0 to 4" + web + "is not posted for another reason now: ...",
                        "MSI-X 0 to 4" + web + "has this remark now: on a host that posts, AVIC is inhibited ..."),
                row(
                        "intel-posted",
                        host -> host.put("proc/cmdline", "intel_iommu=on intremap=nopost\n")
                                .remove("sys/kernel/debug/iommu"),
                        "check posting is WARN now, was PASS: ...",
                        "MSI-X 0 to 4 of 0000:00:01.0 (web) is not posted now: ..."),
                row(
                        "amd-avic",
                        interrupts(".*vfio-msix\\[2].*\n", ""),
                        "MSI-X 2" + web
                                + "is not used any more: VFIO has not armed it, and others of the device are armed: the"
                                + " guest masks it or does not use it"),
                row(
                        "amd-avic",
                        host -> interrupts("(?m)^( *)2([789]):", "$14$2:")
                                .apply(host.remove(IRQS + "27")
                                        .remove(IRQS + "28")
                                        .remove(IRQS + "29")
                                        .put(IRQS + "47", "msix\n")
                                        .put(IRQS + "48", "msix\n")
                                        .put(IRQS + "49", "msix\n")
                                        .put("proc/irq/47/spurious", SPURIOUS)
                                        .put("proc/irq/48/spurious", SPURIOUS)
                                        .put("proc/irq/49/spurious", SPURIOUS)
                                        .put("proc/irq/47/smp_affinity_list", "0-1\n")
                                        .put("proc/irq/48/smp_affinity_list", "0-1\n")
                                        .put("proc/irq/49/smp_affinity_list", "0-1\n")),
                        "MSI-X 0 to 2" + web + "moved to host irq 47, 48, 49 from 27, 28, 29"),
                row(
                        "gicv4",
                        interrupts("(?m)^.*vfio-msix.*\n", ""),
                        "MSI-X 0 to 4 of 0000:00:01.0 (arm) is broken at its device vector now: ..."),
                row(
                        "amd-avic",
                        host -> host.remove("proc/100/"),
                        "guest web (process 100) is gone",
                        "check avic-inhibits is PASS now, was UNKNOWN: ...",
                        "check paths is still PASS, for another reason now: ...",
                        "list notes now: 1 device has armed vectors and no guest that is seen, ...",
                        "MSI-X 0 to 4 of 0000:00:02.0 has left guest web (process 100)",
                        "MSI-X 0 to 4 of 0000:00:02.0 cannot be followed at its VMM any more: no process is seen that ..."),
                row(
                        "amd-avic",
                        host -> host.put("sys/bus/pci/devices/0000:00:02.0/aer_dev_fatal", "TOTAL_ERR_FATAL 3\n"),
                        "check paths is WARN now, was PASS: ...",
                        "MSI-X 0 to 4" + web
                                + "is in doubt at its device now: the device has reported 3 fatal errors ..."),
                row(
                        "vhost-kernel-threads",
                        host -> host.put(WORKER + "status", "Cpus_allowed_list:\t0-3\n"),
                        "worker 105 of web may run on CPU 0-3 now, before on 4-7"),
                row(
                        "vhost-kernel-threads",
                        host -> host.put("proc/100/task/101/status", "State:\tS (sleeping)\nCpus_allowed_list:\t5\n"),
                        "vCPU 0 of web may run on CPU 5 now, before on 2"),
                row(
                        "vhost-kernel-threads",
                        host -> host.remove("proc/106/"),
                        "guest web has 1 worker of vhost now, had 2"),
                row(
                        "vhost-kernel-threads",
                        host -> host.remove("proc/107/"),
                        "guest web has no kernel thread kvm-pit any more"),
                row(
                        "vhost-kernel-threads",
                        host -> host.put("proc/100/task/101/stat", GuestHosts.stat(101, "CPU 0/KVM", 'T', 0, 3))
                                .put("proc/100/task/102/stat", GuestHosts.stat(102, "CPU 1/KVM", 't', 0, 3)),
                        "guest web is stopped now: its vCPUs are stopped, traced, or wait outside of KVM_RUN"),
                row(
                        "amd-avic",
                        host -> host.link("sys/bus/pci/devices/0000:00:03.0/driver", "../../../bus/pci/drivers/e1000e"),
                        "0000:00:03.0 has driver e1000e now, had vfio-pci",
                        "..."),
                row(
                        "amd-avic",
                        host -> host.remove("sys/bus/pci/devices/0000:00:03.0/"),
                        "0000:00:03.0 is gone",
                        "..."),
                row(
                        "arm64-6.12",
                        host -> host.put("proc/version", "Linux version 6.16.1 (x) #1\n")
                                .put("proc/sys/kernel/osrelease", "6.16.1\n"),
                        "the kernel is 6.16.1 now, was 6.12.95+deb12-arm64"));
    }

    private static RecordedHost host(String name) throws IOException {
        RecordedHost host = GuestHosts.names().contains(name) ? GuestHosts.of(name) : RecordedHost.of(name);
        return affinity(host, 0).put("proc/100/task/101/status", "State:\tS (sleeping)\nCpus_allowed_list:\t2\n");
    }

    @ParameterizedTest
    @MethodSource("changes")
    void changeIsSaidInWords(String name, UnaryOperator<RecordedHost> change, List<String> sentences)
            throws IOException {
        List<String> said = changes(host(name), change.apply(host(name)));
        for (String sentence : sentences) {
            String begin = sentence.endsWith("...") ? sentence.substring(0, sentence.length() - 3) : sentence + "\n";
            assertThat(said).anyMatch(one -> (one + "\n").startsWith(begin));
        }
        assertThat(said)
                .allMatch(one -> sentences.contains("...")
                        || sentences.stream()
                                .anyMatch(sentence -> sentence.endsWith("...")
                                        ? one.startsWith(sentence.substring(0, sentence.length() - 3))
                                        : one.equals(sentence)));
        // The way back is a change, too.
        assertThat(changes(change.apply(host(name)), host(name))).isNotEmpty();
    }

    static List<String> unchanged() {
        return Stream.concat(GuestHosts.names().stream(), RecordedHost.NAMES.stream())
                .toList();
    }

    /** Counts grow, threads move and sleep. */
    @ParameterizedTest
    @MethodSource("unchanged")
    void hostThatOnlyWorksDoesNotChange(String name) throws IOException {
        RecordedHost before = host(name).put("proc/uptime", "5000.00 9000.00\n");
        RecordedHost later = host(name).put("proc/uptime", "5060.00 9100.00\n");
        later.put(INTERRUPTS, text(later, INTERRUPTS).replaceAll("(?m)^( *\\d+: +)\\d+ ", "$14711 "));
        if (name.startsWith("vhost-")) {
            later.put("sys/kernel/debug/kvm/100-5/exits", "99999\n")
                    .put("proc/100/task/101/stat", GuestHosts.stat(101, "CPU 0/KVM", 'S', 0x400040, 7))
                    .put("proc/100/task/101/wchan", "kvm_vcpu_block");
        }
        assertThat(changes(before, later)).isEmpty();
        assertThat(CaptureDiff.of(capture(before), capture(later))).allMatch(CaptureDiff::isVolatile);
        assertThat(HostChanges.ofTwoHosts(capture(before).tree(), capture(later).tree()))
                .isEmpty();
    }

    @Test
    void restartedGuestIsOneByItsName() throws IOException {
        RecordedHost later = host("amd-avic");
        HostFiles tree = later.tree();
        for (String fd : tree.list("proc/100/fd")) {
            later.link("proc/200/fd/" + fd, tree.link("proc/100/fd/" + fd).orElseThrow());
        }
        later.put(
                        "proc/200/cmdline",
                        new String(tree.bytes("proc/100/cmdline", 4096).orElseThrow()))
                .put("proc/200/comm", "qemu-system-x86\n")
                .remove("proc/100/");
        assertThat(changes(host("amd-avic"), later))
                .contains("guest web has process 200 now, had 100: it was started again")
                .noneMatch(one -> one.endsWith("is new") || one.endsWith("is gone"));
    }

    /** Another guest comes first before, and is gone later. Without an id, names are numbers of each capture. */
    @ParameterizedTest
    @ValueSource(strings = {"5b4a5ad5d2c94ee45b4a5ad5d2c94ee4", "", "uninitialized"})
    void redactedNameIsThatOfTheSameGuestLater(String machine) throws IOException {
        RecordedHost later = host("amd-avic");
        if (!machine.isEmpty()) {
            later.put("etc/machine-id", machine + "\n");
        }
        Capture named = capture(later);
        RecordedHost before = new RecordedHost();
        named.files().forEach(before::putBytes);
        named.links().forEach(before::link);
        before.put("proc/10/cmdline", "/usr/bin/qemu-system-x86_64\0-name\0alpha\0-machine\0q35,kernel_irqchip=split\0")
                .put("proc/10/cgroup", "0::/alpha.scope\n")
                .link("proc/10/fd/9", "anon_inode:kvm-vm");
        Capture first = capture(before).redact();
        List<String> said = HostChanges.of(first.tree(), named.redact().tree()).stream()
                .map(Object::toString)
                .toList();
        assertThat(said).singleElement().asString().matches("guest guest-\\w+ \\(process 10\\) is gone");
        assertThat(first.files()).doesNotContainKey("etc/machine-id");
        assertThat(first.files().values()).noneMatch(bytes -> new String(bytes).matches("(?s).*(alpha|5b4a5ad5).*"));
        List<String> groups = CaptureDiff.of(first, named.redact()).stream()
                .map(CaptureDiff::path)
                .filter(path -> path.matches("/proc/100/.*|/sys/fs/.*/group.*"))
                .toList();
        assertThat(groups.isEmpty()).isEqualTo(machine.startsWith("5b4a"));
    }

    @Test
    void twoHostsAreNotTakenForOne() throws IOException {
        HostFiles amd = RecordedHost.of("amd-6.12").tree();
        RecordedHost same = RecordedHost.of("amd-6.12");
        assertThat(HostChanges.ofTwoHosts(amd, same.tree())).isEmpty();
        same.put("proc/cpuinfo", "vendor_id\t: GenuineIntel\nflags\t\t: vmx\n");
        assertThat(HostChanges.ofTwoHosts(amd, same.tree())).contains("their processors are of AMD and INTEL");
        same.put("proc/cpuinfo", "CPU implementer\t: 0x41\n");
        assertThat(HostChanges.ofTwoHosts(amd, same.tree())).contains("only one of them is an arm64 machine");
        RecordedHost fewer = RecordedHost.of("amd-6.12").remove("sys/bus/pci/devices/0000:00:0");
        assertThat(HostChanges.ofTwoHosts(amd, fewer.tree()).orElseThrow())
                .matches("they have \\d+ of \\d+ and \\d+ PCI devices in common");
    }

    @Test
    void interruptsInARowAreOneSubject() {
        assertThat(ChainChanges.ranges(List.of("MSI-X 0", "MSI-X 1", "MSI-X 2", "MSI-X 5", "MSI-X 7", "MSI-X 8")))
                .isEqualTo("MSI-X 0 to 2, 5, 7 to 8");
        assertThat(ChainChanges.ranges(List.of("INTx"))).isEqualTo("INTx");
    }
}
