/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.fake.Profile;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.testing.Recorded;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Recorded hosts, and what the command prints of them, letter by letter. */
class VfioCommandTest {
    @TempDir
    private Path temporary;

    private Cli.Ended of(RecordedHost host, String... arguments) throws IOException {
        host.writeTo(temporary);
        List<String> all = new ArrayList<>(List.of("vfio", "--root", temporary.toString()));
        all.addAll(List.of(arguments));
        return Cli.run(all.toArray(String[]::new));
    }

    @ParameterizedTest
    @CsvSource({
        "amd-6.1,    0000:00:02.0, vfio-amd-6.1-e1000e.txt,  1",
        "amd-6.1,    0000:00:05.0, vfio-amd-6.1-virtio.txt,  1",
        "amd-7.1,    0000:00:03.0, vfio-amd-7.1-edu.txt,     0",
        "arm64-6.12, 0000:00:01.0, vfio-arm64-e1000e.txt,    1",
        "amd-6.12,   '',           vfio-amd-6.12-list.txt,   0"
    })
    void textIsAsRecorded(String host, String address, String golden, int exitCode) throws IOException {
        String[] arguments = address.isEmpty() ? new String[0] : new String[] {address};
        Cli.Ended printed = of(RecordedHost.of(host), arguments);
        assertThat(printed.err()).isEmpty();
        assertThat(printed.out()).isEqualTo(Recorded.text(VfioCommandTest.class, golden, printed.out()));
        assertThat(printed.exitCode()).isEqualTo(exitCode);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "vtd         | off: dmar0 cannot post (CAP.PI is 0) (use"
                        + " hardware that can post; emulated IOMMUs normally cannot)",
                "vtd-posting | on: this host can post device interrupts to running vCPUs",
                "amd-avic    | on: this host can post device interrupts to running vCPUs",
                "gicv3       | off: KVM does not use GICv4 (boot with kvm-arm.vgic_v4_enable=1 if the host has a"
                        + " GICv4)",
                "gicv4       | not known: kvm-arm.vgic_v4_enable is set, but only a running VM shows whether the host"
                        + " has a GICv4 (look again while a VM with an ITS runs)"
            })
    void oneLineSaysWhetherPostingIsOnHere(String profile, String said) {
        assertThat(Cli.run("vfio", "--fake", profile, "0000:3b:00.0").out()).contains("\nposting is " + said + "\n");
    }

    /** In a stack of block devices, each is on the device below. */
    @Test
    void useOfTheHostIsToldBeforeItIsLost() throws IOException {
        RecordedHost host = RecordedHost.of("amd-6.1");
        assertThat(of(host, "0000:00:05.0").out()).doesNotContain("in use");
        String device = "../../devices/pci0000:00/0000:00:05.0/";
        host.put("proc/self/mountinfo", """
                22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/dm-0 rw
                23 22 0:30 / /srv rw - btrfs /dev/sdb rw
                24 22 0:5 / /proc rw - proc proc rw
                25 22 8:99 / /other rw - ext4 /dev/sdz rw
                """)
                .link("sys/dev/block/254:0", "../../devices/virtual/block/dm-0")
                .put("sys/dev/block/254:0/slaves/sda", "")
                .link("sys/class/block/sda", device + "virtio1/block/sda")
                .link("sys/class/block/sdb", device + "virtio1/block/sdb")
                .link("sys/dev/block/8:99", "../../devices/pci0000:00/0000:00:06.0/block/sdz")
                .put("proc/net/route", "Iface Destination Gateway\nens5 00000000 0101A8C0\n")
                .link("sys/class/net/ens5", device + "virtio1/net/ens5")
                .put("sys/class/net/ens5/operstate", "up\n")
                .link("sys/class/net/ens6", device + "virtio1/net/ens6")
                .put("sys/class/net/ens6/operstate", "down\n");
        assertThat(new HostFacts(host.tree()).uses(PciAddress.parse("0000:00:05.0")))
                .containsExactly(
                        "the root file system is on it",
                        "the file system at /srv is on it",
                        "the network interface ens5 is up and has the default route");
    }

    /** Partitions of a RAID, NVMe with several paths to a controller, and swap space. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "9:127 | ../../devices/virtual/block/md126/md126p2                                   | the root file system is on it",
                "259:2 | ../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p2         | the root file system is on it",
                "259:2 | ../../devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n1/nvme1n1p2         | ",
                "8:99  | ../../devices/pci0000:00/0000:00:06.0/block/sdz                             | "
            })
    void deviceBehindTheRootFileSystemIsFound(String number, String place, @Nullable String use) throws IOException {
        String device = "../../devices/pci0000:00/0000:00:05.0/";
        RecordedHost host = RecordedHost.of("amd-6.1")
                .put("proc/self/mountinfo", "22 1 " + number + " / / rw,relatime - ext4 /dev/x rw\n")
                .link("sys/dev/block/" + number, place)
                .put("sys/class/block/md126/slaves/sda", "")
                .link("sys/class/block/sda", device + "virtio1/block/sda")
                .link(
                        "sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0",
                        "../../../pci0000:00/0000:00:05.0/nvme/nvme0")
                .link(
                        "sys/devices/virtual/nvme-subsystem/nvme-subsys1/nvme1",
                        "../../../pci0000:00/0000:00:06.0/nvme/nvme1");
        PciAddress disk = PciAddress.parse("0000:00:05.0");
        assertThat(new HostFacts(host.tree()).uses(disk)).isEqualTo(use == null ? List.of() : List.of(use));
        host.put("proc/swaps", "Filename Type Size Used Priority\n/swapfile file 1 0 -2\n/dev/sda partition 1 0 -3\n");
        assertThat(new HostFacts(host.tree()).uses(disk)).contains("the swap space /dev/sda is on it");
    }

    /** There the probe of vfio-pci fails, after the host's driver is gone. */
    @Test
    void deviceWithoutAnIommuGetsNoCommands() throws IOException {
        assertThat(of(RecordedHost.of("amd-6.1").withoutIommu(), "0000:00:05.0").out())
                .doesNotContain("echo");
        assertThat(Cli.run("vfio", "--root", temporary.toString(), "0000:00:05.0", "--json")
                        .out())
                .contains("\"cause\":\"no-iommu\"", "\"bind\":[],\"giveBack\":[]");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "vfio 3b                       | 2 | kvmirq: '3b' is not a PCI address: expected"
                        + " DOMAIN:BUS:DEVICE.FUNCTION, such as 0000:3b:00.0. See kvmirq vfio --help",
                "vfio 0000:3b:00.0;reboot      | 2 | kvmirq: '0000:3b:00.0;reboot' is not a PCI address: expected"
                        + " DOMAIN:BUS:DEVICE.FUNCTION, such as 0000:3b:00.0. See kvmirq vfio --help",
                "vfio --fake 6.1 0000:ff:1f.7  | 3 | kvmirq: there is no PCI device 0000:ff:1f.7: 'kvmirq vfio"
                        + " --fake 6.1' lists the devices",
                "vfio --fake 5.4               | 2 | kvmirq: profile '5.4' is unknown: expected one of 6.1, 6.12,"
                        + " 6.18, 7.1; options after a version",
                "vfio --root /proc             | 3 | kvmirq: --root is '/proc': expected a directory with"
                        + " sys/bus/pci/devices in it",
                "vfio --from /no/archive       | 3 | kvmirq: cannot read /no/archive: no such file",
                "doctor --from /etc/passwd     | 3 | kvmirq: /etc/passwd is not a capture: it is not a kvmirq capture"
                        + " archive",
                "list --root /no/directory     | 3 | kvmirq: --root is '/no/directory': expected a directory with",
                "explain --from /no/archive 01:00.0 | 3 | kvmirq: cannot read /no/archive: no such file",
                "vfio --root / --fake 6.1      | 2 | kvmirq: --fake and --root are mutually exclusive: use one of them."
                        + " See kvmirq vfio --help"
            })
    void wrongArgumentsAreOneSentence(String arguments, int exitCode, String sentence) {
        Cli.Ended printed = Cli.run(arguments.strip().split(" ", -1)).exited(exitCode);
        assertThat(printed.err()).startsWith(sentence).hasLineCount(1);
        assertThat(printed.out()).isEmpty();
    }

    @Test
    void devicesOfAFakeKernel() {
        for (String profile : Profile.labels()) {
            assertThat(Cli.run("vfio", "--fake", profile).out())
                    .contains("0000:3b:00.0", "usable", "0000:3d:00.0", "group-not-viable", "not-bound");
        }
        Cli.Ended printed = Cli.run("vfio", "--fake", "6.12", "0000:3d:00.0").exited(ExitCode.FAILED);
        assertThat(printed.out()).contains("0000:3d:00.1 (driver-of-host)", "Linux 6.12.0-fake");
    }
}
