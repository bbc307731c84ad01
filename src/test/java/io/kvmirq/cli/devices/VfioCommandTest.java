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
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

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

    /** The remedy that binds the only network interface says that the host loses its route. */
    @Test
    void remedyThatBindsADeviceInUseSaysWhatTheHostLoses() throws IOException {
        RecordedHost host = RecordedHost.of("amd-6.1")
                .put("proc/net/route", "Iface\tDestination\nnic0\t00000000\n")
                .link("sys/class/net/nic0", "../../devices/pci0000:00/0000:00:05.0/net/nic0")
                .put("sys/devices/pci0000:00/0000:00:05.0/net/nic0/operstate", "up\n");
        assertThat(of(host, "0000:00:05.0").exited(1).out())
                .startsWith("0000:00:05.0 cannot be assigned to a guest now: ")
                .contains("do: bind it to vfio-pci; the host then loses: the network interface nic0 is up and has the"
                        + " default route (live; risk: the host is cut off from its network)\n");
    }

    @Test
    void wayOfABridgeWithTheDefaultRouteIsNamed() throws IOException {
        RecordedHost host = RecordedHost.of("amd-6.1")
                .put("proc/net/route", "Iface\tDestination\nbr0\t00000000\n")
                .link("sys/class/net/nic0", "../../devices/pci0000:00/0000:00:05.0/net/nic0")
                .link("sys/devices/pci0000:00/0000:00:05.0/net/nic0/master", "../../../../virtual/net/br0")
                .put("sys/devices/pci0000:00/0000:00:05.0/net/nic0/operstate", "up\n");
        assertThat(of(host, "0000:00:05.0").exited(1).out())
                .contains("the network interface nic0 is up and is the uplink of br0, which has the default route"
                        + " (live; risk: the host is cut off from its network)\n");
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

    /** A vendor adds changes of newer kernels, and keeps its number. */
    @ParameterizedTest
    @CsvSource({"5.14.0-70.el9.x86_64, true", "5.14.21, false", "6.15.0-1-amd64, false"})
    void releaseOfAVendorLeavesTheFlagsInDoubt(String release, boolean doubtful) throws IOException {
        RecordedHost host = RecordedHost.of("amd-6.1")
                .put("proc/version", "Linux version " + release + " (build@host) (gcc (Debian 12.2.0-14)) #1 SMP\n")
                .put("proc/sys/kernel/osrelease", release + "\n")
                .put("sys/bus/pci/devices/0000:00:02.0/irq", "0\n");
        String printed = of(host, "0000:00:02.0").out();
        assertThat(printed.contains("; doubtful: the vendor may have backported the change from Linux 6.5, which leaves"
                        + " NORESIZE out\n"))
                .isEqualTo(doubtful);
        assertThat(printed.contains(
                        "; doubtful: the vendor may have backported the change from Linux 6.15, which reports"
                                + " 0 for a line"))
                .isEqualTo(doubtful);
    }

    /** Debian has its own number in the release, and that of the stable kernel at the end of /proc/version. */
    @ParameterizedTest
    @CsvSource({"6.1.140-1, 1", "6.1.141-1, 0", "6.12.95-1~bpo12+1, 0"})
    void releaseOfDebianIsThatOfTheStableKernel(String debian, int pins) throws IOException {
        RecordedHost host = RecordedHost.of("amd-6.1")
                .put(
                        "proc/version",
                        "Linux version 6.1.0-56-amd64 (build@host) #1 SMP Debian " + debian + " (2026-11-16)\n")
                .put("sys/bus/pci/devices/0000:00:02.0/irq", "2147483648\n");

        assertThat(of(host, "0000:00:02.0").out())
                .contains("0 INTX      " + pins)
                .contains("MSIX")
                .doesNotContain("doubtful");
    }

    @ParameterizedTest
    @CsvSource({"4.18.0-553.el8.x86_64, true", "4.19.1, false"})
    void releaseOfAVendorLeavesTheDenylistInDoubt(String release, boolean doubtful) throws IOException {
        RecordedHost host = RecordedHost.of("amd-6.1")
                .put("proc/version", "Linux version " + release + " (build@host) #1 SMP\n")
                .put("proc/sys/kernel/osrelease", release + "\n")
                .put("sys/bus/pci/devices/0000:00:05.0/vendor", "0x8086\n")
                .put("sys/bus/pci/devices/0000:00:05.0/device", "0x37c8\n");
        assertThat(of(host, "0000:00:05.0")
                        .exited(1)
                        .out()
                        .contains("bind it to vfio-pci, which may fail: vendor kernels"))
                .isEqualTo(doubtful);
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

    /** The driver of the VMD makes the bus of its disks: neither it nor a disk of its group can be bound alone. */
    @Test
    void deviceOnABusOfAnotherGoesWithIt() throws IOException {
        String vmd = "0000:00:05.0";
        String disk = "10000:e1:00.0";
        RecordedHost host = RecordedHost.of("amd-6.1");
        String group = host.tree()
                .linkName("sys/bus/pci/devices/" + vmd + "/iommu_group")
                .orElseThrow();
        host.remove("sys/bus/pci/devices/" + vmd + "/driver")
                .link("sys/bus/pci/devices/" + vmd + "/driver", "../../../bus/pci/drivers/vmd");
        String place = "sys/devices/pci0000:00/" + vmd + "/pci10000:e0/10000:e0:06.0/" + disk;
        host.link("sys/bus/pci/devices/" + disk, "../../../../" + place)
                .link("sys/kernel/iommu_groups/" + group + "/devices/" + disk, "../../../../" + place)
                .put(place + "/vendor", "0x8086\n")
                .put(place + "/device", "0x0a54\n")
                .put(place + "/class", "0x010802\n")
                .link(place + "/iommu_group", "../../../../../../../kernel/iommu_groups/" + group)
                .link(place + "/driver", "../../../../../../../bus/pci/drivers/nvme");
        assertThat(of(host, vmd).exited(1).out())
                .contains("bind it to vfio-pci; the host then loses: " + disk + " on its bus")
                .contains("risk: the host loses it)")
                .contains("nothing for " + disk + ": it is on the device's bus, and disappears when the"
                        + " device's driver is unbound")
                .doesNotContain("bind these devices");
        assertThat(Cli.run("vfio", "--root", temporary.toString(), disk)
                        .exited(1)
                        .out())
                .contains("host drivers use " + vmd + " (vmd) in the same IOMMU group (" + group + ")")
                .contains("do: disable VMD for the device's slot", "do: pass through the whole controller " + vmd)
                .doesNotContain("bind these devices");
    }

    @Test
    void jsonIsAsRecorded() throws IOException {
        Cli.Ended printed =
                of(RecordedHost.of("intel-6.1"), "0000:00:01.0", "--json").exited(1);
        assertThat(printed.out()).isEqualTo(Recorded.text(VfioCommandTest.class, "vfio-intel-6.1.json", printed.out()));
        assertThat(Cli.run("vfio", "--root", temporary.toString(), "--json").out())
                .contains("\"kernel\":\"6.1.0-56-amd64\",\"bootId\":null,\"iommus\":[\"dmar0\"],")
                .contains("\"address\":\"0000:00:04.0\"", "\"cause\":\"not-bound\"");
    }

    /** By the rules of explain. */
    @Test
    void deviceThatDoesNotAnswerIsNotUsable() throws IOException {
        byte[] ones = new byte[256];
        Arrays.fill(ones, (byte) -1);
        RecordedHost host =
                RecordedHost.of("intel-6.1").closed().putBytes("sys/bus/pci/devices/0000:00:01.0/config", ones);
        assertThat(of(host, "0000:00:01.0").exited(ExitCode.FAILED).out())
                .contains(
                        "\n  device         broken     D0: the device does not respond:",
                        "\n                            do: restart the guest to reset the device;");
        String root = temporary.toString();
        assertThat(Cli.run("vfio", "--root", root).out()).contains("  vfio-pci    function.gone\n");
        assertThat(Cli.run("vfio", "--root", root, "--json").out())
                .contains(
                        "\"usable\":false,\"link\":{\"hop\":\"device\",\"state\":\"broken\",",
                        "\"flaws\":[\"function.gone\"]");
    }

    /** Configuration Request Retry Status: the bytes behind the vendor are no header. */
    @Test
    void deviceInAResetIsNoBridge() throws IOException {
        byte[] retry = new byte[256];
        Arrays.fill(retry, (byte) -1);
        retry[0] = 1;
        retry[1] = 0;
        RecordedHost host = RecordedHost.of("intel-6.1").putBytes("sys/bus/pci/devices/0000:00:01.0/config", retry);
        assertThat(of(host, "0000:00:01.0").exited(ExitCode.FAILED).out())
                .contains("returns Configuration Request Retry Status")
                .doesNotContain("is a bridge");
    }

    /** Names of a tree may hold anything; commands hold none of them. */
    @Test
    void namesOfATreeAreMadePrintableAndStayOutOfCommands() throws IOException {
        RecordedHost host = RecordedHost.of("amd-6.1")
                .remove("sys/bus/pci/devices/0000:00:02.0/driver")
                .link("sys/bus/pci/devices/0000:00:02.0/driver", "x/\033[2J;reboot");
        Cli.Ended printed = of(host, "0000:00:02.0").exited(ExitCode.FAILED);
        assertThat(printed.out()).contains("?[2J;reboot").doesNotContain("\033");
        assertThat(printed.out().substring(printed.out().indexOf("to bind the device:")))
                .doesNotContain("reboot")
                .contains("  echo vfio-pci > /sys/bus/pci/devices/0000:00:02.0/driver_override\n");
    }

    /** The class of a bridge without its header: the host bridge and the LPC bridge. */
    @Test
    void bridgeGetsNoCommands() throws IOException {
        RecordedHost host = RecordedHost.of("amd-6.1").put("sys/bus/pci/devices/0000:00:05.0/class", "0x060100\n");
        Cli.Ended printed = of(host, "0000:00:05.0").exited(ExitCode.FAILED);
        assertThat(printed.out()).contains("0000:00:05.0 is a bridge").doesNotContain("echo");
        assertThat(Cli.run("vfio", "--root", temporary.toString(), "0000:00:05.0", "--json")
                        .out())
                .contains("\"cause\":\"bridge\"", "\"bind\":[],\"giveBack\":[]");
    }

    /** There the probe of vfio-pci fails, after the host's driver is gone. */
    @ParameterizedTest
    @ValueSource(strings = {"no-iommu", "no-group"})
    void deviceWithoutAnIommuGetsNoCommands(String cause) throws IOException {
        RecordedHost host = RecordedHost.of("amd-6.1");
        if (cause.equals("no-iommu")) {
            host.withoutIommu();
        } else {
            host.remove("sys/bus/pci/devices/0000:00:05.0/iommu_group")
                    .remove("sys/kernel/iommu_groups/4/devices/0000:00:05.0");
        }
        assertThat(of(host, "0000:00:05.0").out()).doesNotContain("echo");
        assertThat(Cli.run("vfio", "--root", temporary.toString(), "0000:00:05.0", "--json")
                        .out())
                .contains("\"cause\":\"" + cause + "\"", "\"bind\":[],\"giveBack\":[]");
    }

    /** A function with a reset of its own needs no other. */
    @Test
    void functionsOfItsBusGoAlongInAReset() throws IOException {
        String devices = "sys/bus/pci/devices/";
        RecordedHost host = RecordedHost.of("amd-6.1");
        for (String address : List.of("0000:03:00.0", "0000:03:00.1", "0000:04:00.0")) {
            host.put(devices + address + "/vendor", "0x1002\n")
                    .put(devices + address + "/device", "0x73bf\n")
                    .put(devices + address + "/class", "0x030000\n");
        }
        host.link(devices + "0000:03:00.1/driver", "../../../bus/pci/drivers/snd_hda_intel")
                .put(devices + "0000:04:00.0/reset_method", "bus\n");
        assertThat(of(host, "0000:03:00.0").out())
                .contains("bus only: VFIO resets the whole bus, and only for a program that also owns 0000:03:00.1"
                        + " (no group, driver snd_hda_intel)\n");
        assertThat(Cli.run("vfio", "--root", temporary.toString(), "0000:04:00.0")
                        .out())
                .containsPattern("reset +bus\n");
    }

    @Test
    void givingBackKeepsAnOverrideOfTheHost() throws IOException {
        String device = "/sys/bus/pci/devices/0000:00:05.0/";
        RecordedHost host = RecordedHost.of("amd-6.1").put(device.substring(1) + "driver_override", "virtio-pci\n");
        assertThat(of(host, "0000:00:05.0").out())
                .contains("to return the device to its driver afterwards:\n  echo virtio-pci > " + device
                        + "driver_override\n");
        host.put(device.substring(1) + "driver_override", "$(reboot)\n");
        assertThat(giveBack(host)).isEqualTo("[]");
        host.link(device.substring(1) + "driver", "x/vfio-pci");
        assertThat(giveBack(host))
                .isEqualTo("[\"echo 0000:00:05.0 > " + device
                        + "driver/unbind\",\"echo 0000:00:05.0 > /sys/bus/pci/drivers_probe\"]");
    }

    private String giveBack(RecordedHost host) throws IOException {
        Path copy = Files.createTempDirectory(temporary, "host");
        host.writeTo(copy);
        String out = Cli.run("vfio", "--root", copy.toString(), "0000:00:05.0", "--json")
                .out();
        return out.substring(out.indexOf("\"giveBack\":") + 11, out.lastIndexOf("}]}"));
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
