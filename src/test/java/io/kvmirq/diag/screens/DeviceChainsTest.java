/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.path.Claim;
import io.kvmirq.path.Claim.Question;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import io.kvmirq.path.Link.State;
import io.kvmirq.path.Remedy;
import java.io.IOException;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Chains never call observed, broken or whole what files do not show so. */
class DeviceChainsTest {
    private static final String AMD = "0000:00:02.0";
    private static final String ARM = "0000:00:01.0";
    private static final String INTERRUPTS = "proc/interrupts";

    private static List<InterruptPath> chains(RecordedHost host, String device) {
        HostFacts facts = new HostFacts(host.tree());
        return DeviceChains.read(facts, facts.pci(PciAddress.parse(device)).orElseThrow());
    }

    private static InterruptPath chain(RecordedHost host, String device, int vector) {
        HostFacts facts = new HostFacts(host.tree());
        return DeviceChains.read(facts, facts.pci(PciAddress.parse(device)).orElseThrow(), vector);
    }

    private static Link link(InterruptPath chain, Hop<?> hop) {
        return chain.link(hop).orElseThrow();
    }

    private static Claim claim(InterruptPath chain, Question question) {
        return chain.claim(question).orElseThrow();
    }

    /** As a plain user sees a guest that has armed nothing. */
    @Test
    void guestThatIsNotSeenMasksNothing() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic").deny("proc/100/fd");
        host.remove("sys/bus/pci/devices/0000:00:02.0/msi_irqs");
        InterruptPath chain = chains(without(host, "vfio-"), AMD).get(0);
        assertThat(link(chain, Hop.DEVICE_VECTOR).state()).isEqualTo(State.NOT_SHOWN);
        assertThat(link(chain, Hop.DEVICE_VECTOR).text())
                .isEqualTo("VFIO has armed no interrupt of the device; no visible process has the device open, and"
                        + " the files of 1 process cannot be read");
        assertThat(chain.fails()).isEmpty();
    }

    /** Only that its parts are assigned is no fault of a parent. */
    @ParameterizedTest
    @CsvSource({"quiet, IDLE", "module_blacklist=vfio_pci, BROKEN"})
    void parentIsBrokenByAnotherRefusal(String word, State state) throws IOException {
        RecordedHost host = RecordedHost.of("amd-6.1")
                .put("proc/cmdline", word + "\n")
                .link("sys/bus/pci/devices/0000:00:02.0/driver", "../nvidia")
                .link("sys/bus/mdev/devices/b5a6f2c0", "../../../devices/pci0000:00/0000:00:02.0/b5a6f2c0");
        if (state == State.BROKEN) {
            host.remove("sys/bus/pci/drivers/vfio-pci").put("sys/bus/pci/drivers/nvidia/bind", "");
        }
        assertThat(link(chains(host, AMD).get(0), Hop.HOST_IRQ).state()).isEqualTo(state);
    }

    private static final String IRQTBL = "sys/kernel/debug/iommu/amd/irqtbl";
    private static final String POSTED_ENTRY = "DeviceId 0000:00:02.0\nIRT[0000] 0000000000000022 0000000000000081\n";

    /** A monitor may have changed what the command line says, and a module what its parameter says. */
    @ParameterizedTest
    @CsvSource({
        "amd-pit, false, the command line suggests otherwise (QEMU's machine pc-q35-9.2 ",
        "amd-avic, true, other facts suggest otherwise ("
    })
    void entryThatIsPostedIsNotOverruled(String name, boolean off, String other) throws IOException {
        RecordedHost host = GuestHosts.of(name);
        if (off) {
            host.put("sys/module/kvm_amd/parameters/avic", "N\n");
            assertThat(chain(host, AMD, 0).isNeverPosted()).isTrue();
        }
        InterruptPath chain = chain(host.put(IRQTBL, POSTED_ENTRY), AMD, 0);
        assertThat(chain.fails()).isEmpty();
        assertThat(chain.posted()).contains(true);
        assertThat(chain.isNeverPosted()).isFalse();
        assertThat(chain.whyNot()).isEmpty();
        assertThat(claim(chain, Question.ELIGIBLE).holds()).contains(true);
        assertThat(claim(chain, Question.ELIGIBLE).text()).startsWith("the entry is posted, but " + other);
    }

    /** Without the rows that have a text. */
    private static RecordedHost without(RecordedHost host, String... texts) {
        return host.put(
                INTERRUPTS,
                host.tree()
                        .text(INTERRUPTS)
                        .orElse("")
                        .lines()
                        .filter(line -> List.of(texts).stream().noneMatch(line::contains))
                        .collect(Collectors.joining("\n", "", "\n")));
    }

    /** A fact that only one of two captures has is a change, whichever is the earlier one. */
    @Test
    void changesAreThoseOfTheOtherDirection() throws IOException {
        List<InterruptPath> armed = chains(GuestHosts.of("amd-avic"), AMD);
        List<InterruptPath> unarmed = chains(without(GuestHosts.of("amd-avic"), "vfio-"), AMD);
        List<Change> changes = Change.between(unarmed, armed);
        assertThat(changes).anyMatch(change -> change.before().isEmpty());
        assertThat(Change.between(armed, unarmed))
                .containsExactlyInAnyOrderElementsOf(changes.stream()
                        .map(change -> new Change(change.interrupt(), change.at(), change.after(), change.before()))
                        .toList());
        assertThat(Change.between(armed, armed)).isEmpty();
    }

    private static RecordedHost add(RecordedHost host, String... rows) {
        return host.put(INTERRUPTS, host.tree().text(INTERRUPTS).orElse("") + "\n" + String.join("\n", rows) + "\n");
    }

    /**
     * {@code irq_remapping_alloc()} in drivers/iommu/amd/iommu.c counts within one allocation, and MSI-X allocates one by
     * one: each irq of the recorded device has the hwirq 0x100000, while it has the entries 0 to 4.
     */
    @Test
    void hwirqOfAmdIsNoIndexOfAnEntry() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        StringBuilder table = new StringBuilder("DeviceId 0000:00:02.0\n");
        for (int i = 0; i < 5; i++) {
            // GuestMode is bit 7 of the low word.
            table.append(String.format("IRT[%04d] %016x %016x%n", i, 0x22 + i, i == 0 ? 1 : 0x81));
            host.put("sys/kernel/debug/irq/irqs/" + (27 + i), """
                    handler:  handle_edge_irq
                    domain:  PCI-MSIX-0000:00:02.0-12
                     hwirq:   0x%x
                     chip:    IR-PCI-MSIX-0000:00:02.0
                     parent:
                        domain:  AMD-IR-0-14
                         hwirq:   0x100000
                         chip:    AMD-IR
                    """.formatted(i));
        }
        host.put("sys/kernel/debug/iommu/amd/irqtbl", table.toString());
        for (int vector = 0; vector < 5; vector++) {
            Claim form = claim(chain(host, AMD, vector), Question.FORM);
            assertThat(form.holds()).isEmpty();
            assertThat(form.text()).isEqualTo("4 of the device's 5 IRTEs are in posted form");
            assertThat(Remedy.text(form.remedies()).orElse(""))
                    .contains("kvm_pi_irte_update")
                    .doesNotContain("GENERIC_IRQ_DEBUGFS");
        }
    }

    private static final String TABLE = "sys/kernel/debug/iommu/intel/ir_translation_struct";

    /** Rows as ir_tbl_remap_entry_show() in drivers/iommu/intel/debugfs.c prints them, of a second unit. */
    private static RecordedHost addUnit(RecordedHost host, String rows) {
        String table = host.tree().text(TABLE).orElse("");
        return host.put(
                TABLE,
                table + "\n\nRemapped Interrupt supported on IOMMU: dmar9\n IR table address:104b00000\n"
                        + " Entry SrcID   DstID    Vct IRTE_high\t\tIRTE_low\n" + rows);
    }

    private static Claim form(RecordedHost host, int vector) {
        return claim(chain(host, "0000:00:01.0", vector), Question.FORM);
    }

    /** The table prints no PCI domain: 0001:00:01.0 has the same source, in another unit. */
    @Test
    void entriesOfAnotherUnitAreNotThoseOfTheDevice() throws IOException {
        String other = " 24    00:01.0 00000100 22  0000000000040008\t000001000022000d\n";
        RecordedHost shared = addUnit(GuestHosts.of("intel-posted"), other);
        shared.put("sys/bus/pci/devices/0001:00:01.0/vendor", "0x8086\n");
        assertThat(form(shared, 0).holds()).isEmpty();
        assertThat(form(shared, 0).text())
                .isEqualTo("/" + TABLE + " shows no PCI domain, and sysfs does not show the unit of the device");

        shared.link("sys/bus/pci/devices/0000:00:01.0/iommu", "../../virtual/iommu/dmar0");
        shared.link("sys/bus/pci/devices/0001:00:01.0/iommu", "../../virtual/iommu/dmar9");
        assertThat(form(shared, 0).text()).isEqualTo("each of the device's 5 IRTEs is in posted form");

        shared.link("sys/bus/pci/devices/0000:00:01.0/iommu", "../../virtual/iommu/dmar9");
        assertThat(form(shared, 0).holds()).contains(false);
        assertThat(form(shared, 0).text()).isEqualTo("the IRTE names a host CPU (remapped form)");
    }

    /** The index counts within a unit: INTEL-IR-9 is that of dmar9. */
    @Test
    void indexOfAnEntryIsThatOfItsUnit() throws IOException {
        String other = " 24    00:01.0 00000100 22  0000000000040008\t000001000022000d\n";
        RecordedHost host = addUnit(GuestHosts.of("intel-posted"), other);
        for (String unit : List.of("0", "9")) {
            // irq_domain_alloc_named_id_fwnode("INTEL-IR", iommu->seq_id); kernels since 6.10 add the bus token.
            for (String suffix : List.of("", "-13")) {
                host.put(
                        "sys/kernel/debug/irq/irqs/27",
                        " domain:  INTEL-IR-" + unit + suffix + "\n  hwirq:   0x170001\n");
                assertThat(form(host, 0).text())
                        .isEqualTo(
                                unit.equals("0")
                                        ? "the IRTE names a vCPU (posted form)"
                                        : "the IRTE names a host CPU (remapped form)");
            }
        }
    }

    /** set_msi_sid() in drivers/iommu/intel/irq_remapping.c: behind a bridge the source is the alias, or a range. */
    @Test
    void entryBehindABridgeIsFoundByItsIndexAlone() throws IOException {
        RecordedHost host = GuestHosts.of("intel-posted");
        host.put(TABLE, host.tree().text(TABLE).orElse("").replace("00:01.0", "00:1e.0") + "\n");
        assertThat(form(host, 0).holds()).isEmpty();
        assertThat(form(host, 0).text())
                .isEqualTo(
                        "debugfs shows no entry with source id 00:01.0; behind a PCI bridge, the source id is the bridge's");
        assertThat(Remedy.text(form(host, 0).remedies()).orElse("")).contains("CONFIG_GENERIC_IRQ_DEBUGFS");

        host.put("sys/kernel/debug/irq/irqs/27", " domain:  INTEL-IR-0-13\n  hwirq:   0x180000\n");
        assertThat(form(host, 0).holds()).contains(true);
    }

    /** Both commands read the same list. */
    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "-machine q35,kernel-irqchip=split; PASS; true",
                "-machine q35,kernel-irqchip=split -cpu host,hv-synic=on; may-be-inhibited;",
                "-machine q35,kernel-irqchip=split -cpu host,hv_synic,hv_apicv; PASS; true",
                "-machine q35 -cpu host,hv-synic; inhibited; false",
                "-machine q35,kernel-irqchip=split -object sev-guest,id=x; inhibited; false",
                "-machine q35,kernel-irqchip=off; inhibited; false"
            })
    void doctorAndExplainAgreeOnWhatInhibits(String options, String reason, @Nullable String eligible)
            throws IOException {
        RecordedHost host = GuestHosts.guest(
                GuestHosts.of("amd-avic"),
                "02",
                "/usr/bin/qemu-system-x86_64 -device vfio-pci,host=00:02.0 " + options);
        Finding finding = Doctor.examine(new HostFacts(host.tree()), EnumSet.of(Check.AVIC_INHIBITS))
                .get(0);
        Claim claim = claim(chain(host, AMD, 0), Question.ELIGIBLE);
        assertThat(claim.holds().map(String::valueOf)).isEqualTo(Optional.ofNullable(eligible));
        if (reason.equals("PASS")) {
            assertThat(finding.status()).isEqualTo(Finding.Status.UNKNOWN);
        } else {
            assertThat(finding.reason()).isEqualTo(reason);
            assertThat(Remedy.text(claim.remedies()).orElse(""))
                    .contains(finding.remedies().get(0).text());
        }
        if (reason.startsWith("may")) {
            assertThat(finding.text())
                    .isEqualTo("VMM command lines may inhibit AVIC in qemu-system-x86 (process 100): hyperv, if the"
                            + " guest uses AutoEOI");
            assertThat(claim.text()).endsWith("AVIC is inhibited if the guest uses AutoEOI, which no file shows");
        }
    }

    /** The form needs only the vendor: a parameter of the module is missing here. */
    @Test
    void formIsReadWhereOtherFactsOfPostingAreMissing() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic")
                .remove("sys/module/kvm_amd")
                .put(
                        "sys/kernel/debug/iommu/amd/irqtbl",
                        "DeviceId 0000:00:02.0\nIRT[0000] 0000000000000022 0000000000000081\n");
        assertThat(claim(chain(host, AMD, 0), Question.ELIGIBLE).holds()).isEmpty();
        assertThat(claim(chain(host, AMD, 0), Question.FORM).text()).isEqualTo("the IRTE names a vCPU (posted form)");
        host.put("proc/cpuinfo", "vendor_id : CentaurHauls\n");
        assertThat(claim(chain(host, AMD, 0), Question.FORM).text())
                .isEqualTo("/proc/cpuinfo names no Intel or AMD processor, and only these post interrupts on x86");
    }

    /** As crosvm's device process, or a vfio-user server, feeds the VM of another process. */
    @Test
    void eventfdThatAGuestHasTooIsNamed() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        host.put("proc/200/comm", "crosvm\n");
        host.link("proc/200/fd/3", "/dev/vfio/1").link("proc/200/fd/4", "anon_inode:[vfio-device]");
        host.remove("proc/100/fd/3").remove("proc/100/fd/4");
        for (int fd = 20; fd < 24; fd++) {
            // 2 and 3 are of process 100 too: eventfd-id is one number for the whole host.
            host.link("proc/200/fd/" + fd, "anon_inode:[eventfd]")
                    .put(
                            "proc/200/fdinfo/" + fd,
                            "pos:\t0\neventfd-count: 0\neventfd-id: " + (fd < 22 ? fd - 18 : fd) + "\n");
        }
        InterruptPath chain = chain(host, AMD, 0);
        assertThat(link(chain, Hop.EVENTFD).state()).isEqualTo(State.NOT_SHOWN);
        assertThat(link(chain, Hop.EVENTFD).text())
                .isEqualTo(
                        "process 200 (crosvm) has the device or its group open but holds no VM, so it is not a VMM, or"
                                + " its VM"
                                + " is in another process; web (process 100) shares eventfds with it"
                                + " (eventfd-id 2, 3)");
        assertThat(link(chain, Hop.IRQFD).text())
                .isEqualTo(link(chain, Hop.EVENTFD).text());
        assertThat(chain.fails()).isEmpty();

        host.put("proc/100/fdinfo/21", "pos:\t0\neventfd-id: 92\n").put("proc/100/fdinfo/22", "pos:\t0\n");
        assertThat(link(chain(host, AMD, 0), Hop.EVENTFD).text()).endsWith("or its VM is in another process");
    }

    /** Linux before vfio-device-syspath: the group has a bridge, and a function that the guest was not given. */
    @Test
    void deviceOfAGroupIsNotThatOfTheGuest() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic")
                .link("sys/kernel/iommu_groups/1/devices/0000:00:01.0", "x")
                .put("sys/bus/pci/devices/0000:00:01.0/class", "0x060400\n")
                .link("sys/bus/pci/devices/0000:00:01.0/driver", "../../../bus/pci/drivers/pcieport")
                .link("sys/kernel/iommu_groups/1/devices/0000:00:02.1", "x")
                .put("sys/bus/pci/devices/0000:00:02.1/vendor", "0x8086\n")
                .put("sys/bus/pci/devices/0000:00:02.1/class", "0x020000\n")
                .link("sys/bus/pci/devices/0000:00:02.1/iommu_group", "../../../kernel/iommu_groups/1")
                .link("sys/bus/pci/devices/0000:00:02.1/driver", "../../../bus/pci/drivers/vfio-pci");
        HostFacts facts = new HostFacts(host.tree());
        assertThat(facts.vms().all().get(0).devices()).containsExactly(PciAddress.parse(AMD));
        InterruptPath sibling = chains(host, "0000:00:02.1").get(0);
        assertThat(sibling.fails().filter(hop -> hop != Hop.POSTING)).isEmpty();
        assertThat(sibling.guest()).isEmpty();
        assertThat(link(sibling, Hop.DEVICE_VECTOR).state()).isEqualTo(State.NOT_SHOWN);
        assertThat(link(sibling, Hop.DEVICE_VECTOR).text())
                .contains("process 100 (web) has IOMMU group", "does not show whether that process uses this device");
    }

    /** The VM has six vLPIs' worth of vectors and five vLPIs: none of them is known to be one. */
    @Test
    void vlpisOfAnotherDeviceAreNotThoseOfThis() throws IOException {
        RecordedHost host = GuestHosts.of("gicv4")
                .link("proc/100/fd/40", "/dev/vfio/2")
                .link("proc/100/fd/41", "anon_inode:[vfio-device]");
        add(host, "  30:     900000          0  ITS-PCI-MSIX-0000:00:02.0   0 Edge      vfio-msix[0](0000:00:02.0)");
        for (InterruptPath chain : List.of(chain(host, ARM, 0), chain(host, "0000:00:02.0", 0))) {
            assertThat(claim(chain, Question.FORM).holds()).isEmpty();
            assertThat(claim(chain, Question.FORM).text())
                    .isEqualTo("5 LPIs of the VM are vLPIs, and its devices have 6 armed vectors");
        }
    }

    /** Interrupts are only inferred to be posted now, so it is also inferred that they were not before. */
    @Test
    void countIsCalledUnpostedOnlyIfTheFormIsObserved() throws IOException {
        RecordedHost host = GuestHosts.of("gicv4");
        host.put(
                INTERRUPTS,
                host.tree().text(INTERRUPTS).orElse("").replace(" 25:          0 ", " 25:          7 ") + "\n");
        InterruptPath chain = chain(host, ARM, 0);
        assertThat(claim(chain, Question.FORM).holds()).contains(true);
        assertThat(claim(chain, Question.DELIVERED).text()).isEqualTo("the host handled it 7 times");
    }

    /** Linux 6.5 and newer allocate each vector when it is armed: the third irq may be of any. */
    @Test
    void numberOfAnUnarmedVectorIsNotGuessed() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic")
                .remove("sys/bus/pci/devices/0000:00:02.0/msi_irqs/28")
                .remove("sys/bus/pci/devices/0000:00:02.0/msi_irqs/30");
        without(host, " 28:", " 29:", " 30:", " 31:");
        add(host, "  29:          0          0  IR-PCI-MSIX-0000:00:02.0   2-edge      vfio-msix[2](0000:00:02.0)");
        List<InterruptPath> chains = chains(host, AMD);
        assertThat(chains)
                .extracting(InterruptPath::name)
                .containsExactly("MSI-X 0", "MSI-X 2", "MSI-X of host irq 31");
        InterruptPath masked = chains.get(2);
        assertThat(link(masked, Hop.HOST_IRQ).value()).contains("31");
        assertThat(link(masked, Hop.DEVICE_VECTOR).text())
                .isEqualTo("VFIO has not armed the vector of host irq 31, whose number is not shown, but has armed"
                        + " other"
                        + " vectors of the device, so the guest masks this one or does not use it");
        assertThat(masked.isIdle()).isTrue();
        assertThat(masked.fails()).isEmpty();
    }

    /** As in lab/samples/amd612/sys/kernel-irq.txt, and of one domain for all devices as in amd61. */
    @ParameterizedTest
    @ValueSource(strings = {"IR-PCI-MSIX-0000:00:02.0 4", "IR-PCI-MSI 32772"})
    void numberOfAnUnarmedVectorIsReadWhereSysfsShowsIt(String shown) throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic")
                .remove("sys/bus/pci/devices/0000:00:02.0/msi_irqs/28")
                .remove("sys/bus/pci/devices/0000:00:02.0/msi_irqs/30")
                .put("sys/kernel/irq/31/chip_name", shown.split(" ")[0] + "\n")
                .put("sys/kernel/irq/31/hwirq", shown.split(" ")[1] + "\n");
        without(host, " 28:", " 30:", " 31:");
        InterruptPath masked = chains(host, AMD).get(2);
        assertThat(masked.name()).isEqualTo("MSI-X 4");
        assertThat(link(masked, Hop.HOST_IRQ).evidence()).contains(Evidence.observed("/sys/kernel/irq/31/hwirq"));
        Link never = link(chain(host, AMD, 1), Hop.HOST_IRQ);
        assertThat(never.state()).isEqualTo(State.NOT_SHOWN);
        assertThat(never.text()).isEqualTo("the host has allocated none for MSI-X 1");
    }

    /** Up to 6.4 all are allocated at once, in the order of the vectors. */
    @Test
    void vectorsThatAreAllocatedAtOnceHaveTheirPlace() throws IOException {
        RecordedHost host = GuestHosts.of("intel-nopost");
        without(host, "vfio-msix[2]", "vfio-msix[3]");
        List<InterruptPath> chains = chains(host, "0000:00:01.0");
        assertThat(chains)
                .extracting(InterruptPath::name)
                .containsExactly("MSI-X 0", "MSI-X 1", "MSI-X 2", "MSI-X 3", "MSI-X 4");
        assertThat(link(chains.get(2), Hop.HOST_IRQ).value()).contains("one of 29, 30");
        assertThat(chains).extracting(InterruptPath::isIdle).containsExactly(false, false, true, true, false);
    }
}
