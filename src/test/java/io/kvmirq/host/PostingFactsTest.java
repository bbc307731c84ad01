/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.apic.model.LapicIds;
import io.kvmirq.arch.apic.model.PostingDecision;
import io.kvmirq.arch.apic.model.PostingIrq;
import io.kvmirq.arch.apic.model.PostingVm;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.arch.gic.VlpiObstacle;
import io.kvmirq.arch.vtd.UnitCapabilities;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.mirror.MirrorHost;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Posting, as a host's files show it. */
class PostingFactsTest {
    private static final String INTEL_CAP = "sys/class/iommu/dmar0/intel-iommu/cap";
    private static final String AMD_FEATURES = "sys/class/iommu/ivhd0/amd-iommu/features";
    private static final String INTERRUPTS = "           CPU0\n  24:   1   IR-PCI-MSIX-0000:3b:00.0   0-edge   nic\n";

    private static PostingFacts facts(RecordedHost host) {
        return new PostingFacts(host.tree());
    }

    private static RecordedHost intel() {
        return new RecordedHost()
                .put("proc/version", "Linux version 6.12.0 (gcc) #1\n")
                .put("proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu cx16 vmx\n")
                .put("proc/cmdline", "root=/dev/sda intel_iommu=on\n")
                .put("proc/interrupts", INTERRUPTS)
                .put("sys/module/kvm_intel/parameters/enable_apicv", "Y\n")
                .link("sys/class/iommu/dmar0", "../../devices/virtual/iommu/dmar0")
                .put(INTEL_CAP, "8d2078c106f0466\n");
    }

    private static RecordedHost amd() {
        return new RecordedHost()
                .put("proc/version", "Linux version 6.18.20 (gcc) #1\n")
                .put("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nflags\t\t: fpu cx16 svm avic\n")
                .put("proc/cmdline", "root=/dev/sda\n")
                .put("proc/interrupts", INTERRUPTS)
                .put("sys/module/kvm_amd/parameters/avic", "Y\n")
                .link("sys/class/iommu/ivhd0", "../../devices/pci0000:00/0000:00:00.2/iommu/ivhd0")
                .put(AMD_FEATURES, "246577efa2254afa:0\n");
    }

    private static Optional<PostingObstacle> flaw(RecordedHost host) {
        PostingHost posting = facts(host).host().orElseThrow();
        PostingIrq irq = PostingIrq.of(
                new Route.Msi(new io.kvmirq.Gsi(24), MsiMessage.to(new VcpuId(0), new InterruptVector(0x41))));
        PostingDecision decision =
                PostingDecision.decide(posting, PostingVm.of(List.of(LapicIds.flat(0, 1)), false), irq);
        return decision instanceof PostingDecision.Unposted unposted
                ? Optional.of(unposted.reason())
                : Optional.empty();
    }

    @Test
    void hostsThatPost() {
        assertThat(facts(intel()).host())
                .contains(PostingHost.of(Vendor.INTEL)
                        .withKernel(new LinuxVersion(6, 12))
                        .withCommandLine("root=/dev/sda intel_iommu=on"));
        assertThat(facts(intel()).unreadable()).isEmpty();
        assertThat(flaw(intel())).isEmpty();
        PostingHost posts =
                PostingHost.of(Vendor.AMD).withKernel(new LinuxVersion(6, 18)).withCommandLine("root=/dev/sda");
        assertThat(facts(amd()).host()).contains(posts.without(PostingHost.Feature.X2AVIC));
        assertThat(facts(amd().put("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nflags\t\t: cx16 svm avic x2avic\n"))
                        .host())
                .contains(posts);
        assertThat(flaw(amd())).isEmpty();
    }

    /** Each file that {@link PostingObstacle#seen} names for a row, as it is where the row holds. */
    @ParameterizedTest
    @CsvSource({
        "intel, NO_REMAPPING, proc/interrupts, '  24:   1   PCI-MSIX-0000:3b:00.0   0-edge   nic'",
        "amd, NO_REMAPPING, proc/cmdline, quiet nointremap",
        "intel, SWITCHED_OFF, proc/cmdline, quiet intremap=nopost",
        "amd, SWITCHED_OFF, proc/cmdline, intremap=nopost",
        "intel, UNIT_CANNOT_POST, sys/class/iommu/dmar0/intel-iommu/cap, d2008c22260286",
        "intel, UNIT_CANNOT_POST, proc/cpuinfo, 'vendor_id : GenuineIntel'",
        "amd, NO_VIRTUAL_APIC, sys/class/iommu/ivhd0/amd-iommu/features, 29d3:0",
        "amd, NO_VIRTUAL_APIC, proc/cmdline, amd_iommu_intr=legacy",
        "amd, NO_VIRTUAL_APIC, sys/module/kvm_amd/parameters/sev_snp, Y",
        "intel, NO_APIC_VIRTUALIZATION, sys/module/kvm_intel/parameters/enable_apicv, N",
        "amd, NO_APIC_VIRTUALIZATION, sys/module/kvm_amd/parameters/avic, N",
        "amd, NO_APIC_VIRTUALIZATION, sys/module/kvm_amd/parameters/avic, 0",
        "intel, DEVICES_NOT_POSTED, sys/module/kvm_intel/parameters/enable_device_posted_irqs, N",
        "amd, DEVICES_NOT_POSTED, sys/module/kvm_amd/parameters/enable_device_posted_irqs, N"
    })
    void everyRowOfAHostIsSeenInItsFile(String vendor, PostingObstacle row, String path, String text) {
        RecordedHost host = vendor.equals("intel") ? intel() : amd();
        assertThat(flaw(host.put(path, text + "\n"))).contains(row);
    }

    @Test
    void oneUnitOfManyThatCannotPostEndsPosting() {
        RecordedHost two = intel().link("sys/class/iommu/dmar1", "../../devices/virtual/iommu/dmar1");
        assertThat(facts(two).host()).isEmpty();
        assertThat(facts(two).unreadable()).singleElement().satisfies(text -> assertThat(text)
                .contains("/sys/class/iommu/dmar1/intel-iommu/cap cannot be read"));
        assertThat(flaw(two.put("sys/class/iommu/dmar1/intel-iommu/cap", "0\n")))
                .contains(PostingObstacle.UNIT_CANNOT_POST);
    }

    /** Source: cfbe371194d1, "Check vCPU ID against max x2AVIC ID if and only if x2AVIC is enabled". */
    @ParameterizedTest
    @CsvSource({"6.18.5, 0", "6.18, 0", "6.18.9, 0", "6.18.10, 254", "6.18.5-1-pve, 254", "6.17.5, 254", "6.19.1, 254"})
    void highestIdOfAvicDependsOnTheBuildWithoutX2avic(String release, int highest) {
        RecordedHost host = amd().put("proc/sys/kernel/osrelease", release + "\n");
        assertThat(facts(host).host().orElseThrow().highestAvicId()).isEqualTo(highest);
        host.put("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nflags\t\t: cx16 svm avic x2avic\n");
        assertThat(facts(host).host().orElseThrow().highestAvicId()).isGreaterThan(254);
    }

    /** Linux 5.15, 6.1 and 6.12 print them so. */
    @ParameterizedTest
    @ValueSource(strings = {"246577efa2254afa", "0:246577efa2254afa", "246577efa2254afa:0"})
    void orderOfTheFeaturesShowsInTheirBits(String features) {
        RecordedHost host = amd().put("proc/version", "Linux version 6.1.0-56-amd64 (gcc) #1\n");
        assertThat(flaw(host.put(AMD_FEATURES, features + "\n"))).isEmpty();
        assertThat(flaw(host.put("sys/module/kvm_amd/parameters/sev_snp", "Y\n")))
                .contains(PostingObstacle.NO_VIRTUAL_APIC);
        assertThat(flaw(host.put(AMD_FEATURES, features.replaceFirst("^0|0$", "20") + "\n"))
                        .isEmpty())
                .isEqualTo(features.contains(":"));
    }

    @ParameterizedTest
    @CsvSource({
        "proc/cpuinfo, /proc/cpuinfo names no Intel or AMD processor",
        "proc/cmdline, /proc/cmdline cannot be read",
        "proc/interrupts, /proc/interrupts cannot be read",
        "sys/module, enable_apicv cannot be read: load the module kvm_intel",
        "sys/class/iommu, /sys/class/iommu is empty",
        "sys/class/iommu/dmar0/, /sys/class/iommu/dmar0/intel-iommu/cap cannot be read"
    })
    void whatCannotBeReadIsSaidAndNotGuessed(String gone, String sentence) {
        PostingFacts host = facts(intel().remove(gone));
        assertThat(host.host()).isEmpty();
        assertThat(host.unreadable()).singleElement().satisfies(text -> assertThat(text)
                .contains(sentence));
    }

    /** Nothing more need be known, such as of the module. */
    @ParameterizedTest
    @CsvSource({
        "'', 'enable the IOMMU and its interrupt remapping in firmware'",
        "hypervisor, 'run on bare metal, because this host is a VM and emulated IOMMUs do not post'"
    })
    void hostWithoutRemappingPostsNothing(String flag, String remedy) {
        RecordedHost host = intel().remove("sys/module")
                .remove("sys/class/iommu")
                .put("proc/interrupts", "           CPU0\n  24:   1   PCI-MSIX-0000:3b:00.0   0-edge   nic\n")
                .put("proc/cpuinfo", "vendor_id\t: GenuineIntel\nflags\t\t: fpu cx16 vmx " + flag + "\n");
        assertThat(flaw(host)).contains(PostingObstacle.NO_REMAPPING);
        assertThat(PostingOutlook.fromHost(new HostFacts(host.tree())))
                .isEqualTo(new PostingOutlook(
                        Optional.of(false), "the host does not remap interrupts", Optional.of(remedy)));
        assertThat(PostingOutlook.fromHost(
                                new HostFacts(host.remove("proc/cpuinfo").tree()))
                        .posts())
                .contains(false);
    }

    /** The module's answer includes that of the units. */
    @Test
    void theModuleAnswersForUnitsThatAreNotShown() {
        RecordedHost host = intel().remove("sys/class/iommu")
                .put("sys/module/kvm_intel/parameters/enable_device_posted_irqs", "Y\n");
        assertThat(flaw(host)).isEmpty();
    }

    /** QEMU's IOMMUs post nothing. */
    @ParameterizedTest
    @CsvSource({"amd-6.1", "amd-6.12", "amd-7.1", "intel-6.1"})
    void recordedHostsOfQemuPostNothing(String name) throws IOException {
        RecordedHost host = RecordedHost.of(name);
        assertThat(facts(host).unreadable()).isEmpty();
        assertThat(flaw(host)).contains(PostingObstacle.NO_VIRTUAL_APIC);
        assertThat(facts(host).avicKernel())
                .contains(name.equals("amd-7.1") ? AvicKernel.FROM_6_17 : AvicKernel.UP_TO_6_16);
    }

    private static RecordedHost arm(String line, String row) {
        return new RecordedHost()
                .put("proc/version", "Linux version 6.1.0-56-arm64 (gcc) #1\n")
                .put("proc/cmdline", line + "\n")
                .put("proc/interrupts", " 13:   3752   3581     GICv3  26 Level     arch_timer\n" + row + "\n");
    }

    @Test
    void gicv4IsKnownFromItsParameterAndItsDoorbells() throws IOException {
        String vpe = " 25:          0          0  GICv4-vpe   0 Edge      vcpu";
        assertThat(facts(arm("console=ttyAMA0", "")).gicv4()).contains(false);
        assertThat(facts(arm("kvm-arm.vgic_v4_enable=0", "")).gicv4()).contains(false);
        assertThat(facts(arm("kvm-arm.vgic_v4_enable=1", "")).gicv4()).isEmpty();
        assertThat(facts(arm("kvm-arm.vgic_v4_enable=1 kvm-arm.vgic_v4_enable=n", ""))
                        .gicv4())
                .contains(false);
        assertThat(facts(arm("kvm-arm.vgic_v4_enable=1", vpe)).gicv4()).contains(true);
        assertThat(facts(arm("kvm-arm.vgic_v4_enable=on", vpe).remove("proc/cmdline"))
                        .gicv4())
                .contains(true);
        assertThat(facts(RecordedHost.of("arm64-6.12")).gicv4()).contains(false);
        assertThat(facts(intel()).gicv4()).contains(false);
        assertThat(facts(new RecordedHost()).gicv4()).isEmpty();
        assertThat(facts(arm("", "")).vlpiKernel()).contains(VlpiKernel.BY_ROUTE);
        assertThat(facts(arm("", "")).host()).isEmpty();
    }

    private static Optional<Boolean> x2apic(RecordedHost host) {
        return ((MirrorHost.X86) facts(host).forMirror(false)).x2apic();
    }

    /** The parameter came with Linux 6.0; a processor without it shows N. */
    @Test
    void ipiVirtualizationIsThatOfTheModule() {
        RecordedHost host = intel();
        Function<RecordedHost, Optional<Boolean>> ipiv =
                of -> ((MirrorHost.X86) facts(of).forMirror(false)).ipiv();
        assertThat(ipiv.apply(host.put("sys/module/kvm_intel/parameters/enable_ipiv", "Y\n")))
                .contains(true);
        assertThat(ipiv.apply(host.put("sys/module/kvm_intel/parameters/enable_ipiv", "N\n")))
                .contains(false);
        assertThat(ipiv.apply(host.remove("sys/module/kvm_intel/parameters/enable_ipiv")))
                .as("Linux before 6.0")
                .contains(false);
    }

    /** intel_prepare_irq_remapping(): the processor, each unit, and the firmware unless its opt-out is not heeded. */
    @Test
    void hostIsInX2apicModeIfProcessorUnitsAndFirmwareAgree() {
        String extended = Long.toHexString(UnitCapabilities.EXTENDED.mask());
        String ecap = "sys/class/iommu/dmar0/intel-iommu/ecap";
        String table = "sys/firmware/acpi/tables/DMAR";
        String flagged = "vendor_id\t: GenuineIntel\nflags\t\t: fpu vmx cx16 x2apic\n";
        String cmdline = "proc/cmdline";
        RecordedHost host = intel().put("proc/cpuinfo", flagged);
        assertThat(x2apic(host)).as("units that show no ECAP").isEmpty();
        assertThat(x2apic(host.put(ecap, extended + "\n")))
                .as("only root reads the table")
                .isEmpty();
        assertThat(x2apic(host.put(table, "DMAR" + "\0".repeat(32) + "/\u0001")))
                .contains(true);
        assertThat(x2apic(host.put(table, "DMAR" + "\0".repeat(32) + "/\u0003")))
                .contains(false);
        assertThat(x2apic(host.put(cmdline, "intremap=no_x2apic_optout\n"))).contains(true);
        assertThat(x2apic(host.put(ecap, "0\n"))).as("a unit without EIM").contains(false);
        host.put(ecap, extended + "\n").put("proc/cpuinfo", flagged.replace("x2apic", ""));
        assertThat(x2apic(host)).as("nox2apic").contains(false);
        host.put("proc/cpuinfo", flagged.replace("x2apic", "hypervisor"));
        assertThat(x2apic(host)).as("a guest may use it without remapping").isEmpty();
        host.put("proc/cpuinfo", "vendor_id\t: GenuineIntel\n");
        assertThat(x2apic(host)).as("no flags are shown").isEmpty();
    }

    /** An Apple machine has an AIC instead of a GIC. Source: c_show() in arch/arm64/kernel/cpuinfo.c. */
    @Test
    void arm64IsKnownByItsProcessor() throws IOException {
        RecordedHost host = RecordedHost.of("arm64-6.12")
                .put("proc/cpuinfo", "processor\t: 0\nBogoMIPS\t: 48.00\nCPU implementer\t: 0x61\n")
                .put("proc/interrupts", "           CPU0\n  1:          5  AIC  17 Level  serial\n");
        HostFacts facts = new HostFacts(host.tree());
        assertThat(PostingOutlook.fromHost(facts).text()).isEqualTo(VlpiObstacle.NO_GICV4.text());
        assertThat(VfioOutlook.read(facts, facts.pci(facts.boundToVfio().get(0)).orElseThrow())
                        .refusals())
                .extracting(VfioOutlook.Refusal::cause)
                .doesNotContain(VfioOutlook.Obstacle.NO_REMAPPING);
    }
}
