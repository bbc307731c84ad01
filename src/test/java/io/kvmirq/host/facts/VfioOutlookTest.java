/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.tuple;

import io.kvmirq.HostIrq;
import io.kvmirq.IrqKind;
import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.path.Remedy;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Compares the outlook from the files of recorded hosts with the answers of VFIO on these hosts. */
class VfioOutlookTest {
    private static final List<VfioOutlook.Flag> FLAGS = List.of(VfioOutlook.Flag.values());
    private static final PciAddress NETWORK = PciAddress.parse("0000:00:02.0");
    private static final String NETWORK_FILES = "sys/bus/pci/devices/0000:00:02.0/";

    private static Stream<String> hosts() {
        return RecordedHost.NAMES.stream();
    }

    private static VfioOutlook outlook(RecordedHost host, PciAddress address) {
        HostFacts facts = new HostFacts(host.tree());
        return VfioOutlook.read(facts, facts.pci(address).orElseThrow());
    }

    private static VfioOutlook.Irqs irqs(RecordedHost host, VfioOutlook.Kind kind) {
        return outlook(host, NETWORK).irqs().stream()
                .filter(irqs -> irqs.kind() == kind)
                .findFirst()
                .orElseThrow();
    }

    private static List<VfioOutlook.Obstacle> causes(RecordedHost host, PciAddress address) {
        return outlook(host, address).refusals().stream()
                .map(VfioOutlook.Refusal::cause)
                .toList();
    }

    private static String only(RecordedHost host, VfioOutlook.Obstacle cause) {
        assertThat(causes(host, NETWORK)).containsExactly(cause);
        return outlook(host, NETWORK).refusals().get(0).text();
    }

    @ParameterizedTest
    @MethodSource("hosts")
    void predictedInterruptsAreThoseThatVfioReported(String name) throws Exception {
        RecordedHost host = RecordedHost.of(name);
        assertThat(host.observed()).hasSizeGreaterThanOrEqualTo(10);
        for (RecordedHost.Observed observed : host.observed()) {
            VfioOutlook.Irqs predicted = outlook(host, observed.address()).irqs().stream()
                    .filter(irqs -> irqs.kind().name().equals(observed.kind()))
                    .findFirst()
                    .orElseThrow();
            assertThat(predicted.count()).as(observed.toString()).hasValue(observed.count());
            int flags = predicted.flags().stream()
                    .mapToInt(flag -> 1 << FLAGS.indexOf(flag))
                    .sum();
            assertThat(flags).as(observed.toString()).isEqualTo(observed.flags());
        }
    }

    @ParameterizedTest
    @MethodSource("hosts")
    void whatVfioOpenedIsUsable(String name) throws Exception {
        RecordedHost host = RecordedHost.of(name).closed();
        for (RecordedHost.Observed observed : host.observed()) {
            assertThat(causes(host, observed.address())).isEmpty();
        }
    }

    @Test
    void vectorsFoundInTheNamesOfHandlers() throws Exception {
        HostInterrupts interrupts =
                new HostFacts(RecordedHost.of("amd-7.1").tree()).interrupts().orElseThrow();
        assertThat(interrupts.armed(NETWORK))
                .hasSize(5)
                .contains(new HostInterrupts.ArmedVector(
                        new HostIrq(29), NETWORK, IrqKind.MSIX, 2, "IR-PCI-MSIX-0000:00:02.0", 0, List.of()));
        assertThat(new HostInterrupts(" 22:  0 3 IR-IO-APIC  22-fasteoi   vfio-intx(0000:00:02.0)\n"
                                + "garbage\n 23: 1 X vfio-msi[1](0000:00:99.0), vfio-msi[1](0000:00:02.0)")
                        .armed(NETWORK))
                .containsExactly(
                        new HostInterrupts.ArmedVector(
                                new HostIrq(22), NETWORK, IrqKind.INTX, 0, "IR-IO-APIC", 3, List.of()),
                        new HostInterrupts.ArmedVector(
                                new HostIrq(23),
                                NETWORK,
                                IrqKind.MSI,
                                1,
                                "X",
                                1,
                                List.of("vfio-msi[1](0000:00:99.0)")));
    }

    // Interrupts

    @Test
    void capabilitiesNeedRoot() throws Exception {
        RecordedHost host = RecordedHost.of("amd-6.1").cut(NETWORK_FILES + "config", PciCapabilities.PUBLIC_BYTES);
        assertThat(irqs(host, VfioOutlook.Kind.INTX).count()).hasValue(1);
        assertThat(irqs(host, VfioOutlook.Kind.MSI).count()).isEmpty();
        assertThat(irqs(host, VfioOutlook.Kind.MSIX).count()).isEmpty();
        assertThat(irqs(host, VfioOutlook.Kind.REQ).count()).hasValue(1);
    }

    @Test
    void virtualFunctionsAndBrokenPinsHaveNoIntx() throws Exception {
        RecordedHost virtual = RecordedHost.of("amd-6.1").link(NETWORK_FILES + "physfn", "../0000:00:01.0");
        assertThat(irqs(virtual, VfioOutlook.Kind.INTX).count()).hasValue(0);
        for (int id : List.of(0x1563, 0x1572, 0x1582, 0x1583, 0x158b, 0x158c, 0x37d0, 0x37d2, 0x37d3)) {
            RecordedHost host = RecordedHost.of("amd-6.1").put(NETWORK_FILES + "device", "0x%x\n".formatted(id));
            assertThat(irqs(host, VfioOutlook.Kind.INTX).count())
                    .as("pins of 8086:%x", id)
                    .hasValue(List.of(0x1582, 0x158c, 0x37d3).contains(id) ? 1 : 0);
        }
    }

    @Test
    void pinWithoutALineIsHiddenSince615() throws Exception {
        for (String irq : List.of("0\n", "2147483648\n")) {
            RecordedHost recent = RecordedHost.of("amd-7.1").put(NETWORK_FILES + "irq", irq);
            assertThat(irqs(recent, VfioOutlook.Kind.INTX).count()).hasValue(0);
        }
    }

    /** The disassembled vfio_config_init() of Debian's 6.1.176 and 6.12.117 compares pdev->irq with 1 << 31 alone. */
    @Test
    void stableKernelHidesOnlyAPinThatIsNotConnected() throws Exception {
        RecordedHost none = RecordedHost.of("amd-6.12").put(NETWORK_FILES + "irq", "0\n");
        assertThat(irqs(none, VfioOutlook.Kind.INTX).count()).hasValue(1);
        RecordedHost notConnected = RecordedHost.of("amd-6.12").put(NETWORK_FILES + "irq", "2147483648\n");
        assertThat(irqs(notConnected, VfioOutlook.Kind.INTX).count()).hasValue(0);
    }

    // Refusals

    @Test
    void deviceOfTheHostIsNotBound() throws Exception {
        RecordedHost host = RecordedHost.of("amd-6.1").closed().link(NETWORK_FILES + "driver", "../e1000e");
        assertThat(only(host, VfioOutlook.Obstacle.NOT_BOUND))
                .isEqualTo("the driver e1000e is bound to 0000:00:02.0, but VFIO needs vfio-pci");
        host.remove(NETWORK_FILES + "driver");
        assertThat(only(host, VfioOutlook.Obstacle.NOT_BOUND)).startsWith("no driver is bound to 0000:00:02.0");
    }

    @Test
    void parentOfVirtualDevicesStaysWithTheHost() throws Exception {
        RecordedHost host = RecordedHost.of("amd-6.1")
                .link(NETWORK_FILES + "driver", "../nvidia")
                .link("sys/bus/mdev/devices/b5a6f2c0", "../../../devices/pci0000:00/" + NETWORK + "/b5a6f2c0");
        assertThat(only(host, VfioOutlook.Obstacle.NOT_BOUND)).startsWith("the host driver of 0000:00:02.0 ");
    }

    /** Multiple Message Capable of 7 is reserved. */
    @Test
    void damagedMsiHasAtMost32Vectors() {
        byte[] config = new byte[PciCapabilities.BYTES];
        config[0x06] = 1 << 4; // it has capabilities
        config[0x34] = 0x40;
        config[0x40] = 5;
        config[0x42] = 7 << 1;
        assertThat(PciCapabilities.parse(config).msiVectors()).isEqualTo(32);
    }

    @Test
    void variantOfVfioPciIsAsGood() throws Exception {
        RecordedHost host = RecordedHost.of("amd-6.1").closed().link(NETWORK_FILES + "driver", "../mlx5_vfio_pci");
        assertThat(causes(host, NETWORK)).isEmpty();
    }

    @Test
    void wordsThatNameVfioPciAreNamedIfAnotherDriverWasFirst() throws Exception {
        RecordedHost host = RecordedHost.of("amd-6.1").closed().remove(NETWORK_FILES + "driver");
        host.put(NETWORK_FILES + "vendor", "0x8086\n").put(NETWORK_FILES + "device", "0x10d3\n");
        host.put("proc/cmdline", "quiet vfio-pci.ids=1234:5678,8086:10D3:8086:a01f\n");
        assertThat(only(host, VfioOutlook.Obstacle.NOT_BOUND))
                .startsWith(
                        "no driver is bound to 0000:00:02.0, although the kernel's command line names its id for vfio-pci");
        host.put("proc/cmdline", "quiet\n").put(NETWORK_FILES + "driver_override", "vfio-pci\n");
        assertThat(only(host, VfioOutlook.Obstacle.NOT_BOUND))
                .startsWith("no driver is bound to 0000:00:02.0, although its driver_override names vfio-pci");
        host.put(NETWORK_FILES + "driver_override", "vfio_pci\n").put("sys/bus/pci/drivers/vfio-pci/new_id", "");
        assertThat(only(host, VfioOutlook.Obstacle.NOT_BOUND))
                .startsWith("driver_override of 0000:00:02.0 names vfio_pci, but no PCI driver has that name");
    }

    @Test
    void lineThatOthersHaveRefusesAnExclusiveRequest() throws Exception {
        RecordedHost host = RecordedHost.of("amd-6.1").put(NETWORK_FILES + "irq", "77\n");
        String rows = host.tree().text("proc/interrupts").orElseThrow().replaceAll("\n.*vfio-.*", "");
        String row = "\n  77:          9          9  IR-IO-APIC  22-fasteoi   ehci_hcd:usb1\n";
        host.put("proc/interrupts", rows.replaceFirst("\n", row));
        assertThat(causes(host, NETWORK)).doesNotContain(VfioOutlook.Obstacle.INTX_BUSY);
        host.put("sys/module/vfio_pci/parameters/nointxmask", "Y\n");
        assertThat(only(host, VfioOutlook.Obstacle.INTX_BUSY))
                .contains("(nointxmask of vfio-pci is Y), but ehci_hcd:usb1 uses it");
        host.put("sys/module/vfio_pci/parameters/nointxmask", "N\n")
                .put(NETWORK_FILES + "vendor", "0x15b3\n")
                .put(NETWORK_FILES + "device", "0x1003\n");
        assertThat(only(host, VfioOutlook.Obstacle.INTX_BUSY)).contains("Linux lists the device's DisINTx as broken");
    }

    /** Source: {@code iommu_group_resv_type_string} in drivers/iommu/iommu.c. */
    @Test
    void memoryThatTheFirmwareReservedRefusesTheGroup() throws Exception {
        String file = "sys/kernel/iommu_groups/1/reserved_regions";
        RecordedHost host = RecordedHost.of("amd-6.1")
                .closed()
                .put(file, "0x00000000fee00000 0x00000000feefffff msi\n0x0 0xfff direct-relaxable\n");
        assertThat(causes(host, NETWORK)).isEmpty();
        host.put(file, "0x00000000000e8000 0x00000000000e8fff direct\n0x00000000fee00000 0x00000000feefffff msi\n");
        assertThat(only(host, VfioOutlook.Obstacle.RESERVED_REGION)).contains("IOMMU group 1");
    }

    @Test
    void messagesOfAnotherControllerThanAnItsAreNotIsolated() throws Exception {
        String[] rows = {"           CPU0", " 40:        300  GICv2m-PCI-MSIX-0000:01:00.0   0 Edge      nvme0q0"};
        RecordedHost host = RecordedHost.of("arm64-6.12").put("proc/interrupts", String.join("\n", rows) + "\n");
        assertThat(causes(host, NETWORK)).contains(VfioOutlook.Obstacle.NO_REMAPPING);
        host.put("proc/interrupts", rows[0] + "\n" + rows[1].replace("GICv2m", "ITS") + "\n");
        assertThat(causes(host, NETWORK)).doesNotContain(VfioOutlook.Obstacle.NO_REMAPPING);
    }

    @Test
    void groupWithADeviceOfTheHostIsNotViable() throws Exception {
        RecordedHost host = RecordedHost.of("amd-6.1").closed();
        for (String member : List.of("0000:00:1f.0", "0000:00:1f.2", "0000:00:1f.3")) {
            host.link("sys/kernel/iommu_groups/1/devices/" + member, "../" + member);
        }
        assertThat(causes(host, NETWORK)).as("members without a driver").isEmpty();
        host.link("sys/bus/pci/devices/0000:00:1f.0/driver", "../pcieport");
        host.link("sys/bus/pci/devices/0000:00:1f.2/driver", "../ahci");
        host.link("sys/bus/pci/devices/0000:00:1f.3/driver", "../i801_smbus");
        assertThat(only(host, VfioOutlook.Obstacle.GROUP_NOT_VIABLE))
                .isEqualTo("host drivers use 0000:00:1f.2 (ahci), 0000:00:1f.3 (i801_smbus) in the same IOMMU"
                        + " group (1), so VFIO_GROUP_SET_CONTAINER fails with EPERM");
        for (String harmless : List.of("vfio-pci", "pci-stub")) {
            host.link("sys/bus/pci/devices/0000:00:1f.2/driver", "../" + harmless);
            host.link("sys/bus/pci/devices/0000:00:1f.3/driver", "../" + harmless);
            assertThat(causes(host, NETWORK)).isEmpty();
        }
    }

    /** The firmware of a VM has no IOMMU to enable. */
    @Test
    void remedyInAVmIsThatOfTheHypervisor() throws Exception {
        RecordedHost host = RecordedHost.of("amd-6.1").withoutIommu();
        for (boolean vm : List.of(true, false)) {
            host.put("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nflags\t\t: fpu svm" + (vm ? " hypervisor\n" : "\n"));
            HostFacts facts = new HostFacts(host.tree());
            assertThat(VfioOutlook.read(facts, facts.pci(NETWORK).orElseThrow()).refusals())
                    .singleElement()
                    .satisfies(refusal -> assertThat(
                                    Remedy.text(refusal.remedies()).orElseThrow())
                            .startsWith(vm ? "give this guest an IOMMU" : "enable AMD-Vi"));
        }
    }

    @Test
    void hostWithoutAnIommu() throws Exception {
        RecordedHost host = RecordedHost.of("amd-6.1").withoutIommu();
        assertThat(only(host, VfioOutlook.Obstacle.NO_IOMMU)).isEqualTo("no IOMMU is in use on this host");
        assertThat(causes(RecordedHost.of("amd-6.1"), PciAddress.parse("0000:00:01.0")))
                .as("nothing else is of use before")
                .containsExactly(VfioOutlook.Obstacle.NO_GROUP);
    }

    @Test
    void moduleThatIsNotLoaded() throws Exception {
        RecordedHost host = RecordedHost.of("amd-6.1")
                .closed()
                .remove("sys/bus/pci/drivers/vfio-pci")
                .put("sys/bus/pci/drivers/ahci/new_id", "")
                .remove(NETWORK_FILES + "driver");
        assertThat(causes(host, NETWORK))
                .containsExactly(VfioOutlook.Obstacle.NO_MODULE, VfioOutlook.Obstacle.NOT_BOUND);
    }

    @Test
    void interruptsThatAreNotRemapped() throws Exception {
        RecordedHost host =
                RecordedHost.of("amd-6.1").put("proc/interrupts", " CPU0\n 27: 0 PCI-MSI 32768-edge nvme0q0\n");
        assertThat(only(host, VfioOutlook.Obstacle.NO_REMAPPING))
                .isEqualTo("the IOMMU does not remap interrupts, so VFIO_SET_IOMMU fails with EPERM");
        host.put("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n");
        assertThat(causes(host, NETWORK)).isEmpty();
    }

    @Test
    void bridgeIsRefused() throws Exception {
        RecordedHost host = RecordedHost.of("amd-6.1").put(NETWORK_FILES + "config", "\0".repeat(14) + "\1");
        assertThat(only(host, VfioOutlook.Obstacle.BRIDGE)).isEqualTo("0000:00:02.0 is a bridge");
    }

    @Test
    void groupThatAProcessHasOpenIsBusy() throws Exception {
        RecordedHost host = RecordedHost.of("amd-6.1")
                .link("proc/self/fd/3", "/dev/vfio/1")
                .link("proc/70/fd/3", "/dev/vfio/11")
                .link("proc/71/fd/3", "/dev/vfio/1")
                .put("proc/71/comm", "qemu-system-x86\n");
        assertThat(only(host, VfioOutlook.Obstacle.IN_USE))
                .isEqualTo("process 71 (qemu-system-x86) has it open; open() fails with EBUSY");
    }

    /** Over the tree, with other access to /dev. */
    private record WithDev(HostFiles tree, String node, Access access) implements HostFiles {
        @Override
        public Optional<byte[]> bytes(String path, int max) {
            return tree.bytes(path, max);
        }

        @Override
        public Optional<String> link(String path) {
            return tree.link(path);
        }

        @Override
        public List<String> list(String path) {
            return path.equals("dev") ? List.of("vfio") : tree.list(path);
        }

        @Override
        public Access access(String path) {
            return path.equals("dev/vfio/" + node) ? access : Access.ABSENT;
        }
    }

    private static List<VfioOutlook.Refusal> refusals(HostFiles.Access access) throws Exception {
        return refusals("1", access);
    }

    private static List<VfioOutlook.Refusal> refusals(String node, HostFiles.Access access) throws Exception {
        HostFacts host =
                new HostFacts(new WithDev(RecordedHost.of("amd-6.1").closed().tree(), node, access));
        return VfioOutlook.read(host, host.pci(NETWORK).orElseThrow()).refusals();
    }

    @Test
    void fileOfTheGroupThatMayNotBeOpened() throws Exception {
        assertThat(refusals(HostFiles.Access.ALLOWED)).isEmpty();
        assertThat(refusals(HostFiles.Access.DENIED))
                .extracting(VfioOutlook.Refusal::text)
                .containsExactly("this user has no permission to open /dev/vfio/1");
        assertThat(refusals(HostFiles.Access.ABSENT))
                .extracting(VfioOutlook.Refusal::text)
                .containsExactly("/dev/vfio/1 does not exist here");
    }

    @Test
    void groupThatHasNoIommuIsNotTakenForAMissingFile() throws Exception {
        for (HostFiles.Access access : List.of(HostFiles.Access.ALLOWED, HostFiles.Access.DENIED)) {
            assertThat(refusals("noiommu-1", access))
                    .extracting(VfioOutlook.Refusal::cause, VfioOutlook.Refusal::text)
                    .containsExactly(tuple(
                            VfioOutlook.Obstacle.NO_IOMMU,
                            "no IOMMU serves 0000:00:02.0, whose group is /dev/vfio/noiommu-1"));
        }
    }

    /** A process that was not copied, or is of another pid namespace, is not one of those that show no files. */
    @Test
    void armedInterruptsProveThatAProgramHasTheDevice() throws Exception {
        HostFacts host =
                new HostFacts(GuestHosts.of("intel-posted").remove("proc/100").tree());
        assertThat(host.hidesProcesses()).isEmpty();
        assertThat(VfioOutlook.read(
                                host, host.pci(PciAddress.parse("0000:00:01.0")).orElseThrow())
                        .refusals())
                .extracting(VfioOutlook.Refusal::cause, VfioOutlook.Refusal::text)
                .containsExactly(tuple(
                        VfioOutlook.Obstacle.IN_USE,
                        "VFIO has armed 5 of its interrupts, so a program that is not visible has it open;"
                                + " open() fails with EBUSY"));
    }

    /** /sys/kernel/iommu_groups lists a function that has no link of its own. */
    @Test
    void groupOfADeviceWithoutALinkIsTheOneThatListsIt() throws Exception {
        RecordedHost host = RecordedHost.of("amd-6.1").closed().remove(NETWORK_FILES + "iommu_group");
        assertThat(causes(host, NETWORK)).isEmpty();
        host.remove("sys/kernel/iommu_groups/1/devices/" + NETWORK);
        assertThat(only(host, VfioOutlook.Obstacle.NO_GROUP)).contains("0000:00:02.0 has no IOMMU group");
        assertThat(causes(host.put(NETWORK_FILES + "iommu_group", "../1"), NETWORK))
                .isEmpty();
        host.remove(NETWORK_FILES + "iommu_group").deny("sys/kernel/iommu_groups");
        assertThat(causes(host, NETWORK)).isEmpty();
    }

    @Test
    void openDeviceIsNotRefusedForAFileThatIsNotSeen() throws Exception {
        RecordedHost host = GuestHosts.of("intel-posted").put("dev/null", "");
        PciAddress device = PciAddress.parse("0000:00:01.0");
        assertThat(causes(host, device)).containsExactly(VfioOutlook.Obstacle.IN_USE);
        assertThat(causes(host.deny("dev/vfio"), device)).containsExactly(VfioOutlook.Obstacle.IN_USE);
        assertThat(causes(RecordedHost.of("amd-6.1").closed().deny("dev/vfio"), NETWORK))
                .containsExactly(VfioOutlook.Obstacle.NO_PERMISSION);
        host.remove("sys/kernel/iommu_groups/1/devices/" + device)
                .remove("sys/bus/pci/devices/" + device + "/iommu_group");
        assertThat(causes(host, device)).containsExactly(VfioOutlook.Obstacle.IN_USE);
    }
}
