/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.diag.sources.Guests;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.host.facts.VmProcess;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Archives of a host's files. */
class CaptureTest {
    @TempDir
    private Path temporary;

    private static byte[] archive(Capture capture) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        Archive.write(capture, out);
        return out.toByteArray();
    }

    private static Capture read(byte[] archive) throws IOException {
        return Archive.read(new ByteArrayInputStream(archive));
    }

    private static Capture capture(RecordedHost host) {
        return Capture.take(host.tree(), Capture::analysis, true);
    }

    private static List<String> names() {
        return RecordedHost.NAMES;
    }

    /** All that the analysis says of a host. */
    private static String analysed(HostFiles tree) {
        HostFacts host = new HostFacts(tree);
        return host.kernel() + "\n" + host.iommus() + "\n" + PostingOutlook.fromHost(host) + "\n"
                + Doctor.examine(host, EnumSet.complementOf(EnumSet.of(Check.BACKENDS, Check.LIMITS))) + "\n"
                + host.posting().unreadable() + "\n" + host.posting().gicv4() + "\n"
                + host.pciAddresses().stream()
                        .flatMap(address -> host.pci(address).stream())
                        .map(device -> device.address() + " " + device.driver() + device.others() + device.messageIrqs()
                                + device.group() + device.resets() + " " + VfioOutlook.read(host, device) + " "
                                + host.uses(device.address()))
                        .collect(Collectors.joining("\n"));
    }

    @ParameterizedTest
    @MethodSource("names")
    void archiveIsAnalysedAsTheHostIs(String name) throws Exception {
        RecordedHost host = RecordedHost.of(name);
        Capture capture = read(archive(capture(host)));
        assertThat(capture.redacted()).isTrue();
        assertThat(analysed(capture.tree())).isEqualTo(analysed(host.tree())).hasSizeGreaterThan(1000);
        // Links of a directory on a disk are followed, those in memory are not.
        Capture ofDirectory = Capture.take(host.writeTo(temporary), Capture::analysis, true);
        assertThat(analysed(read(archive(ofDirectory)).tree())).isEqualTo(analysed(host.tree()));
    }

    /** Only reports of the kernel log are kept, and only if they name devices. */
    @Test
    void onlyReportsOfTheLogAreKept() throws Exception {
        RecordedHost host = RecordedHost.of("intel-posted")
                .put(
                        "kmsg",
                        "6,1,1000000,-;systemd[1]: Hostname set to <secret>\n"
                                + "3,2,2000000,-;vfio-pci 0000:00:01.0: reset failed\n"
                                + "3,3,3000000,-;EXT4-fs error (device secret): failed\n"
                                + "4,4,4000000,-;\u001b[1mDMAR: [INTR-REMAP] Request device [00:01.0] fault index 0x13\n");
        String kept = "[    2.000000] vfio-pci 0000:00:01.0: reset failed\n";
        String fault = "[    4.000000] DMAR: [INTR-REMAP] Request device [00:01.0] fault index 0x13\n";
        assertThat(read(archive(capture(host))).tree().text("kmsg").orElse("").replaceAll("(?m)^(\\[.*] )?-?\n", ""))
                .isEqualTo((kept + fault).strip());
        Capture whole = Capture.take(host.tree(), Capture::analysis, false);
        assertThat(whole.tree().text("kmsg"))
                .contains((kept + "[    3.000000] EXT4-fs error (device secret): failed\n" + fault).strip());
    }

    /** The owner of /dev/kvm is kept, so that the doctor says the same of an archive. */
    @Test
    void ownerOfKvmIsKept() throws Exception {
        RecordedHost host = RecordedHost.of("intel-posted")
                .put("etc/group", "root:x:0:\nkvm:x:36:secret\n")
                .own("dev/kvm", new HostFiles.Owner(0660, 0, 36));
        Capture capture = read(archive(capture(host)));
        assertThat(Doctor.examine(new HostFacts(capture.tree()), EnumSet.of(Check.KVM)))
                .isEqualTo(Doctor.examine(new HostFacts(host.tree()), EnumSet.of(Check.KVM)))
                .asString()
                .contains("mode 660: root and the group kvm may");
    }

    /** Hosts with guests, and guests by command lines whose words decide. */
    static List<String> hosts() {
        List<String> hosts = new ArrayList<>(GuestHosts.names());
        hosts.addAll(List.of("amd-avic", "intel-posted", "nested-pvm"));
        hosts.addAll(RecordedHost.NAMES);
        hosts.addAll(List.of(
                "qemu-system-x86_64 -name web -M microvm,accel=kvm,pic=off,usb=off",
                "qemu-system-x86_64 -name guest=web --machine pc-q35-9.2,usb=off,dump-guest-core=off",
                "qemu-system-x86_64 -machine acme-q35-secret,usb=off",
                "qemu-system-x86_64 --machine q35,kernel-irqchip=split -object {\"qom-type\":\"sev-guest\",\"id\":\"s\"}",
                "qemu-system-x86_64 -machine q35,pit=off -object sev-snp-guest,id=sev0",
                "/usr/bin/kvm -id 100 -name web,debug-threads=on -machine type=q35",
                "/opt/acme/qemu.real -machine q35",
                "qemu-system-x86_64 -machine q35,pit=off -cpu host,hv_synic=on,hv_time",
                "qemu-system-x86_64 -global driver=kvm-pit,property=lost_tick_policy,value=discard",
                "qemu-system-x86_64 --global kvm-pit.lost_tick_policy=discard -no-kvm-pit-reinjection",
                "qemu-system-x86_64 -device vfio-pci,sysfsdev=/sys/bus/pci/devices/0000:00:02.0,x-no-kvm-msix=on",
                "qemu-system-x86_64 -device {\"driver\":\"vfio-pci\",\"host\":\"0000:00:02.0\",\"x-no-kvm-msix\":true}",
                "qemu-system-x86_64 -global vfio-pci.x-no-kvm-msix=on -global driver=vfio-pci,property=x-no-kvm-msi,value=true",
                "qemu-system-x86_64 -machine q35,pit=off -cpu host,hv-passthrough",
                "qemu-system-x86_64 -machine q35,pit=off -global host-x86_64-cpu.hv-synic=on -s",
                "qemu-system-x86_64 -machine q35,pit=off -readconfig secret",
                "lkvm run --name web -d disk",
                "/usr/bin/crosvm run --name=web",
                "cloud-hypervisor --kernel vmlinux --cmdline acme",
                "acme-vmm --id web"));
        return hosts;
    }

    private static RecordedHost host(String name) throws IOException {
        if (GuestHosts.names().contains(name)) {
            return GuestHosts.of(name);
        }
        return name.contains(" ") ? GuestHosts.guest(GuestHosts.of("amd-avic"), "02", name) : RecordedHost.of(name);
    }

    /** What doctor, explain and list say of a host, and their exit codes, without the names of guests. */
    private static String said(HostFiles tree) {
        HostFacts host = new HostFacts(tree);
        StringBuilder said = new StringBuilder();
        Doctor.examine(host, EnumSet.complementOf(EnumSet.of(Check.BACKENDS)))
                .forEach(finding -> said.append(finding).append('\n'));
        host.pciAddresses().stream()
                .flatMap(address -> host.pci(address).stream())
                .forEach(device -> DeviceChains.read(host, device)
                        .forEach(chain ->
                                said.append(chain.fails()).append(chain).append('\n')));
        said.append(Listing.read(host, address -> true).toString().replace("[", "\n["));
        Guests guests = Guests.find(host);
        guests.all().forEach(guest -> said.append('\n')
                .append(guest.vcpus())
                .append(guest.vhostFiles())
                .append(guest.workers())
                .append(guest.helpers()));
        guests.notes().forEach(note -> said.append('\n').append(note));
        String text = said.toString();
        for (VmProcess vm : host.vms().all()) {
            text = text.replace("(" + vm.name() + ")", "(GUEST)")
                    .replace(vm.name() + " (process", "GUEST (process")
                    .replace(vm.name() + "]", "GUEST]")
                    .replace(vm.command(), "COMMAND");
        }
        return text;
    }

    /** The answer is the same: nothing that decides is taken out. */
    @ParameterizedTest
    @MethodSource("hosts")
    void redactionChangesNoAnswer(String name) throws Exception {
        HostFiles tree = host(name).tree();
        assertThat(said(read(archive(Capture.take(tree, Capture::analysis, true)))
                        .tree()))
                .isEqualTo(said(tree).replace("machine acme-q35-secret has", "machine has"))
                .hasSizeGreaterThan(1000);
    }

    /** A word of the kernel's command line may be quoted. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                "\"kvm-arm.vgic_v4_enable=1\"",
                "kvm_arm.vgic_v4_enable=1",
                "kvm-arm.vgic_v4_enable=\"Y\"",
                "kvm-arm.vgic_v4_enable=0 kvm-arm.vgic_v4_enable=1"
            })
    void wordsOfTheKernelThatDecideAreKept(String words) throws Exception {
        RecordedHost host = RecordedHost.of("arm64-6.12").put("proc/cmdline", "quiet " + words + " secret=1\n");
        Capture capture = capture(host);
        assertThat(new HostFacts(host.tree()).posting().gicv4()).isEmpty();
        assertThat(new HostFacts(capture.tree()).posting().gicv4()).isEmpty();
        assertThat(texts(capture)).doesNotContain("secret");
    }

    private static byte[] packed(String text) throws IOException {
        ByteArrayOutputStream packed = new ByteArrayOutputStream();
        try (GZIPOutputStream out = new GZIPOutputStream(packed)) {
            out.write(text.getBytes(StandardCharsets.UTF_8));
        }
        return packed.toByteArray();
    }

    /** A name in every place where a user may give one. */
    @Test
    void noNameThatAUserGaveIsKept() throws Exception {
        String release = "6.12.5-17-amd64-tokn-lab";
        String configuration =
                "CONFIG_LOCALVERSION=\"-tokn\"\nCONFIG_VFIO_PCI=m\nCONFIG_DEFAULT_HOSTNAME=\"tokn\"\n# CONFIG_TOKN\n";
        RecordedHost host = GuestHosts.guest(
                        GuestHosts.of("amd-avic"),
                        "02",
                        "/opt/tokn/qemu-tokn.bin -name tokn -machine q35,tokn=tokn -object secret,id=tokn,data=tokn"
                                + " -device {\"driver\":\"vfio-pci\",\"id\":\"tokn\",\"host\":\"0000:00:02.0\"}"
                                + " -device vfio-pci,sysfsdev=/sys/bus/mdev/devices/tokn --name=tokn -tokn.x tokn")
                .put("proc/100/comm", "tokn\n")
                .put("proc/100/task/101/comm", "tokn\n")
                .put("proc/sys/kernel/osrelease", release + "\n")
                .put("proc/version", "Linux version " + release + " (tokn@tokn) #1 SMP tokn\n")
                .put("boot/config-" + release, configuration)
                .put("proc/toknfs", "")
                .put("sys/module/tokn/parameters/tokn", "")
                .put("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nflags\t\t: svm\nSerial\t\t: tokn\n")
                .put("proc/self/status", "Name:\ttokn\nGroups:\t4 20\nCapEff:\t0000000000000000\n")
                .put("sys/bus/pci/devices/0000:00:03.0/driver_override", "tokn\n")
                .put("sys/class/net/tokn-nic0/operstate", "up\n")
                .link("sys/class/net/tokn-nic0", "../../devices/pci0000:00/0000:00:03.0/net/tokn-nic0")
                .link("sys/class/net/eth0", "../../devices/pci0000:00/0000:00:04.0/net/eth0")
                .put("proc/net/route", "Iface\tDestination\ntokn-nic0\t00000000\ntokn-other\t0000A8C0\n")
                .put("proc/swaps", "Filename Type Size\n/dev/mapper/tokn partition 1\n/dev/dm-1 partition 2\n")
                .put("proc/self/mountinfo", "22 1 254:0 / /tokn rw - ext4 /dev/tokn rw\n");
        host.put(
                "proc/interrupts",
                host.tree().text("proc/interrupts").orElse("").replace("vfio-msix[0]", "tokn irq, vfio-msix[0]")
                        + "\n  90:   1   2  IR-PCI-MSIX-0000:00:03.0    0-edge      tokn-nic0-TxRx-0, tokn-nic0-tokn"
                        + "\n  91:   1   2  IR-PCI-MSIX-0000:00:03.0    1-edge      tokn-gone0-rx\n");
        HostFiles tree = host.tree();
        Capture capture = Capture.take(
                tree,
                read -> {
                    Capture.analysis(read);
                    read.bytes("proc/config.gz", 1 << 20);
                    new HostFacts(read).kvm().isBuilt("VFIO_PCI");
                },
                true);
        assertThat(texts(capture))
                .doesNotContain("tokn")
                .contains("net-2-TxRx-0, net-2\n", ", vfio-msix[0](0000:00:02.0)");
        HostFacts facts = new HostFacts(capture.tree());
        assertThat(facts.kernel()).contains("6.12.5-17-amd64");
        assertThat(facts.kvm().isBuilt("VFIO_PCI").known()).contains(true);
        assertThat(facts.kvm().isBuilt("KVM_IOAPIC").known()).contains(false);
        assertThat(facts.uses(PciAddress.parse("0000:00:03.0")))
                .containsExactly("the network interface net-2 is up and has the default route");
        host.put("proc/config.gz", "");
        Capture unpacked = Capture.take(
                HostFiles.of(Map.of("proc/config.gz", packed(configuration)), Map.of()),
                read -> new HostFacts(read).kvm().isBuilt("VFIO_PCI"),
                true);
        assertThat(new HostFacts(unpacked.tree()).kvm().isBuilt("VFIO_PCI").known())
                .contains(true);
        byte[] kept = unpacked.files().get("proc/config.gz");
        assertThat(new String(
                        new GZIPInputStream(new ByteArrayInputStream(kept)).readAllBytes(), StandardCharsets.UTF_8))
                .isEqualTo("CONFIG_VFIO_PCI=m\n");
    }

    @Test
    void processesWithoutAVmAreLeftOutAndOthersKeepWhatDecides() throws Exception {
        RecordedHost host = RecordedHost.of("amd-6.12")
                .put("proc/1/comm", "systemd\n")
                .link("proc/1/fd/3", "/etc/secret.key")
                .put("proc/70/comm", "qemu-system-x86\n")
                .put("proc/70/task/72/comm", "CPU 0/KVM\n")
                .put("proc/70/task/73/comm", "secret-thread\n")
                .put(
                        "proc/70/cmdline",
                        String.join(
                                        "\0",
                                        "/opt/secret/qemu-system-x86_64",
                                        "-name",
                                        "guest=secret-db",
                                        "-machine",
                                        "q35,kernel-irqchip=split",
                                        "-uuid",
                                        "secret-uuid",
                                        "-device",
                                        "vfio-pci,host=0000:00:02.0,id=secret-nic",
                                        "-netdev",
                                        "tap,ifname=secret0",
                                        "-global",
                                        "kvm-pit.lost_tick_policy=discard")
                                + "\0")
                .link("proc/70/fd/4", "anon_inode:kvm-vm")
                .link("proc/70/fd/5", "anon_inode:kvm-vcpu:0")
                .link("proc/70/fd/6", "/var/lib/secret.img")
                .link("proc/70/fd/7", "anon_inode:[eventfd]")
                .put("proc/70/fdinfo/7", "eventfd-count:                1\neventfd-id: 9\n");
        Capture capture = read(archive(capture(host)));
        VmProcess vm = new HostFacts(capture.tree()).vms().all().get(0);
        assertThat(vm.pid()).isEqualTo(70);
        assertThat(vm.guest()).contains("guest-1");
        assertThat(vm.arguments())
                .containsExactly(
                        "qemu-system-x86_64",
                        "-name",
                        "guest-1",
                        "-machine",
                        "q35,kernel-irqchip=split",
                        "-uuid",
                        "-",
                        "-device",
                        "vfio-pci,host=0000:00:02.0,-",
                        "-netdev",
                        "-",
                        "-global",
                        "kvm-pit.lost_tick_policy=discard");
        assertThat(vm.vcpus()).singleElement().matches(vcpu -> vcpu.thread().getAsInt() == 72);
        assertThat(vm.eventfds()).singleElement().matches(file -> file.id().getAsInt() == 9 && file.count() == 1);
        assertThat(new HostFacts(capture.tree()).vms().all()).hasSize(1);
        assertThat(new String(
                        archive(Capture.take(host.tree(), Capture::analysis, false)), StandardCharsets.ISO_8859_1))
                .doesNotContain("proc/1/");
        assertThat(texts(capture)).doesNotContain("secret");
    }

    @Test
    void namesAndAddressesAreTakenOut() throws Exception {
        RecordedHost host = RecordedHost.of("intel-6.1")
                .put(
                        "proc/version",
                        "Linux version 6.1.0-56-amd64 (root@secret) (gcc) #1 SMP Debian 6.1.192-2 (secret)\n")
                .put(
                        "proc/cmdline",
                        "root=UUID=secret ip=10.1.2.3 intel_iommu=on,sm_on intremap=nopost hostname=secret\n")
                .put(
                        "proc/self/mountinfo",
                        "22 1 254:0 / / rw,relatime - ext4 /dev/disk/by-id/secret rw\n"
                                + "23 1 0:30 / /home/secret rw shared:1 - nfs secret:/export rw\n")
                .put("etc/group", "root:x:0:\nkvm:x:36:secret,other\nsecret:x:1000:\n")
                .put("proc/swaps", "Filename Type Size\n/secret/swap file 1\n/dev/sda2 partition 2\n")
                .put("proc/config.gz", "\u001f\u008b")
                .put("dev/kvm", "")
                .put("dev/secret", "")
                .put("proc/net/route", "Iface\tDestination\tGateway\nenx0011223344aa\t00000000\t010200C0\n")
                .link("sys/class/net/enx0011223344aa", "../../devices/pci0000:00/0000:00:01.0/net/enx0011223344aa")
                .put("sys/class/net/enx0011223344aa/operstate", "up\n");
        // The doctor reads the groups where the owner of a file is shown: not here.
        Capture capture = read(archive(Capture.take(
                host.tree(),
                tree -> {
                    Capture.analysis(tree);
                    tree.text("etc/group");
                    tree.bytes("proc/config.gz", 10);
                },
                true)));
        assertThat(texts(capture))
                .doesNotContain("secret", "10.1.2.3", "010200C0", "0011223344aa")
                .contains("intel_iommu=on,sm_on intremap=nopost");
        HostFacts facts = new HostFacts(capture.tree());
        assertThat(capture.tree().text("etc/group")).contains("root:x:0:\nkvm:x:36:");
        assertThat(capture.tree().text("proc/swaps")).contains("Filename Type Size\n- file 1\n/dev/sda2 partition 2");
        assertThat(capture.files().get("proc/config.gz")).isEmpty();
        assertThat(facts.kernel()).contains("6.1.0-56-amd64");
        assertThat(facts.stable()).contains("6.1.192-debian");
        assertThat(facts.uses(PciAddress.parse("0000:00:01.0")))
                .containsExactly("the network interface net-1 is up and has the default route");
    }

    /** The names of all threads are read, and few threads are of interest. */
    @Test
    void onlyThreadsThatWorkForInterruptsAreKept() throws Exception {
        RecordedHost host = GuestHosts.of("vhost-kernel-threads")
                .put("proc/cmdline", "quiet threadirqs\n")
                .put("proc/7/stat", GuestHosts.stat(7, "kworker/secret", 'I', 0x208040, 0))
                .put("proc/8/stat", GuestHosts.stat(8, "irq/27-vfio-secret", 'S', 0x208040, 0));
        Capture capture = capture(host);
        assertThat(capture.files().keySet().stream().filter(path -> path.matches("proc/\\d+/stat")))
                .containsExactly(
                        "proc/100/stat",
                        "proc/105/stat",
                        "proc/106/stat",
                        "proc/107/stat",
                        "proc/108/stat",
                        "proc/109/stat",
                        "proc/8/stat");
        assertThat(capture.tree().text("proc/8/stat").orElseThrow()).startsWith("8 (irq/27--) S ");
    }

    private static String texts(Capture capture) {
        return capture.files().entrySet().stream()
                        .map(file -> file.getKey() + "\n" + new String(file.getValue(), StandardCharsets.ISO_8859_1))
                        .collect(Collectors.joining("\n"))
                + capture.links();
    }

    @Test
    void whatWasDeniedIsDeniedThere() throws Exception {
        HostFiles tree = HostFiles.of(Map.of("proc/5/comm", new byte[0]), Map.of(), Set.of("proc/5/fd"));
        Capture capture = read(archive(Capture.take(tree, Capture::analysis, true)));
        assertThat(capture.denied()).containsExactly("proc/5/fd");
        assertThat(capture.tree().reading("proc/5/fd")).isEqualTo(HostFiles.Reading.DENIED);
        assertThat(new HostFacts(capture.tree()).vms().unreadable()).isEqualTo(1);
    }

    private static byte[] zip(Map<String, byte[]> entries) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (ZipOutputStream zip = new ZipOutputStream(out)) {
            for (Map.Entry<String, byte[]> entry : entries.entrySet()) {
                zip.putNextEntry(new ZipEntry(entry.getKey()));
                zip.write(entry.getValue());
            }
        }
        return out.toByteArray();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"../etc/passwd", "files/../../x", "/files/x", "files//x", "files/x/", "files/.", "a\nb", "a\\b"})
    void pathThatLeadsElsewhereIsRefused(String path) throws Exception {
        byte[] archive = zip(Map.of(path, new byte[1]));
        assertThatThrownBy(() -> read(archive))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("a path that leads out of the archive, '")
                .hasMessageNotContaining("\n");
    }

    @Tag("long")
    @Test
    void archiveThatIsTooBigIsRefused() throws Exception {
        byte[] bomb = zip(Map.of("files/a", new byte[(int) Archive.MOST_BYTES + 1]));
        assertThat(bomb.length).isLessThan(1 << 20);
        assertThatThrownBy(() -> read(bomb))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("more than 256 MiB");
    }

    @Test
    void controlGroupOfAGuestIsKeptUnderTheNameThatSystemdGivesIt() throws Exception {
        String group = "machine.slice/machine-qemu\\x2d1\\x2dweb.scope";
        RecordedHost host = RecordedHost.of("amd-6.12")
                .put("proc/70/comm", "qemu-system-x86\n")
                .put("proc/70/status", "State:\tS (sleeping)\n")
                .put("proc/70/task/70/status", "State:\tS (sleeping)\n")
                .put("proc/70/cgroup", "0::/" + group + "\n")
                .put("proc/70/task/70/cgroup", "0::/" + group + "\n")
                .put("sys/fs/cgroup/" + group + "/cgroup.freeze", "1\n")
                .link("proc/70/fd/4", "anon_inode:kvm-vm")
                .link("proc/70/fd/5", "anon_inode:kvm-vcpu:0");
        assertThat(read(archive(Capture.take(host.tree(), Capture::analysis, false)))
                        .files())
                .containsKey("sys/fs/cgroup/" + group + "/cgroup.freeze");
        assertThat(read(archive(capture(host))).files().keySet()).anyMatch(path -> path.endsWith("/cgroup.freeze"));
    }

    @Test
    void otherFilesAreNoCaptures() throws Exception {
        byte[] whole = archive(capture(RecordedHost.of("amd-6.1")));
        byte[] other = zip(Map.of("kvmirq.capture", "kvmirq.capture/9\n".getBytes(StandardCharsets.UTF_8)));
        assertThatThrownBy(() -> read(other))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage(
                        "it has the format kvmirq.capture/9, but this kvmirq reads kvmirq.capture/1: read it with the"
                                + " kvmirq that wrote it, or a newer one");
        byte[] foreign = zip(Map.of("kvmirq.capture", "kvmirq.capture/x\n".getBytes(StandardCharsets.UTF_8)));
        for (byte[] archive : List.of(new byte[0], "no zip".getBytes(StandardCharsets.UTF_8), foreign)) {
            assertThatThrownBy(() -> read(archive))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("not a kvmirq capture archive");
        }
        // Behind the entries is only the directory of the zip file, which says nothing more.
        int entries = new String(whole, StandardCharsets.ISO_8859_1).indexOf("PK\u0001\u0002");
        assertThat(read(Arrays.copyOf(whole, entries)).files())
                .hasSameSizeAs(read(whole).files());
        for (int length = 4; length < entries; length += 97) {
            byte[] cut = Arrays.copyOf(whole, length);
            assertThat(catchThrowable(() -> read(cut)))
                    .as("cut at " + length)
                    .isInstanceOf(IllegalArgumentException.class);
        }
    }

    @Test
    void damagedArchiveIsSaidToBeOne() throws Exception {
        byte[] whole = archive(capture(RecordedHost.of("amd-6.1")));
        for (int i = 1000; i < whole.length; i += 997) {
            byte[] cut = Arrays.copyOf(whole, i);
            byte[] other = whole.clone();
            Arrays.fill(other, i, Math.min(i + 200, whole.length), (byte) 0xff);
            for (byte[] damaged : List.of(cut, other)) {
                assertThat(catchThrowable(() -> read(damaged)))
                        .as("at " + i)
                        .satisfiesAnyOf(
                                thrown -> assertThat(thrown).isNull(), // behind the last entry
                                thrown -> assertThat(thrown)
                                        .isInstanceOf(IllegalArgumentException.class)
                                        .hasMessage("it is damaged or incomplete: copy it again"));
            }
        }
    }

    /** A zip file that ends between two entries has no mark of it before its central directory. */
    @Test
    void archiveThatLacksEntriesIsRefused() throws Exception {
        byte[] whole = archive(capture(RecordedHost.of("amd-6.1")));
        int cuts = 0;
        for (int i = 100; i + 4 < whole.length; i++) {
            // The signature of an entry, PK\3\4; that of the central directory is PK\1\2.
            if (whole[i] == 'P' && whole[i + 1] == 'K' && whole[i + 2] == 3 && whole[i + 3] == 4) {
                byte[] cut = Arrays.copyOf(whole, i);
                cuts++;
                assertThat(catchThrowable(() -> read(cut)))
                        .as("cut at " + i)
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessageContaining("it is damaged or incomplete");
            }
        }
        assertThat(cuts).isGreaterThan(50);
    }

    @ParameterizedTest
    @ValueSource(strings = {"links ../x\t/y", "denied /proc", "denied a//b"})
    void pathInAListThatLeadsElsewhereIsRefused(String list) {
        byte[] head = "kvmirq.capture/1\nredacted=true\n".getBytes(StandardCharsets.UTF_8);
        byte[] content = list.split(" ")[1].getBytes(StandardCharsets.UTF_8);
        assertThatThrownBy(() -> read(zip(Map.of("kvmirq.capture", head, list.split(" ")[0], content))))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("a path that leads out of the archive, '");
    }

    /** Another guest comes first before, and is gone later. Without an id, names are numbers of each capture. */
    @ParameterizedTest
    @ValueSource(strings = {"5b4a5ad5d2c94ee45b4a5ad5d2c94ee4", "", "uninitialized"})
    void redactedNameIsThatOfTheSameGuestLater(String machine) throws IOException {
        RecordedHost later = GuestHosts.of("amd-avic");
        if (!machine.isEmpty()) {
            later.put("etc/machine-id", machine + "\n");
        }
        Capture named = Capture.take(later.tree(), Capture::analysis, false);
        RecordedHost before = new RecordedHost();
        named.files().forEach(before::putBytes);
        named.links().forEach(before::link);
        before.put("proc/10/cmdline", "/usr/bin/qemu-system-x86_64\0-name\0alpha\0-machine\0q35,kernel_irqchip=split\0")
                .put("proc/10/cgroup", "0::/alpha.scope\n")
                .link("proc/10/fd/9", "anon_inode:kvm-vm");
        Capture first = capture(before);
        assertThat(first.files()).doesNotContainKey("etc/machine-id");
        assertThat(first.files().values()).noneMatch(bytes -> new String(bytes).matches("(?s).*(alpha|5b4a5ad5).*"));
        assertThat(ofGuest(first).equals(ofGuest(named.redact()))).isEqualTo(machine.startsWith("5b4a"));
    }

    private static Map<String, String> ofGuest(Capture capture) {
        Map<String, String> files = new TreeMap<>();
        capture.files().forEach((path, content) -> {
            if (path.startsWith("proc/100/")) {
                files.put(path, new String(content, StandardCharsets.UTF_8));
            }
        });
        return files;
    }
}
