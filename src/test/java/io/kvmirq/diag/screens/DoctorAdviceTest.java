/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.path.Claim;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import io.kvmirq.path.Remedy.Takes;
import java.io.IOException;
import java.util.EnumSet;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What doctor and explain tell to change has the effect that they promise, on this host. */
class DoctorAdviceTest {
    private static Finding finding(RecordedHost host, Check check) {
        return Doctor.examine(new HostFacts(host.tree()), EnumSet.of(check)).get(0);
    }

    private static String remedies(Finding finding) {
        return finding.remedies().stream().map(Remedy::text).collect(Collectors.joining("\n"));
    }

    private static RecordedHost intel() throws IOException {
        return RecordedHost.of("intel-posted");
    }

    private static RecordedHost amd() throws IOException {
        return RecordedHost.of("amd-avic");
    }

    private static RecordedHost remapsNothing(RecordedHost host) {
        return host.put(
                "proc/interrupts",
                host.tree().text("proc/interrupts").orElse("").replace("IR-", "") + "\n");
    }

    @Test
    void apicVirtualizationIsSwitchedOnByTheModuleOfTheVendor() throws IOException {
        Finding finding = finding(intel().put("sys/module/kvm_intel/parameters/enable_apicv", "N\n"), Check.POSTING);
        Remedy remedy = finding.remedies().get(0);
        assertThat(remedy.text())
                .isEqualTo("stop all VMs, then: modprobe -r kvm_intel && modprobe kvm_intel enable_apicv=1; to keep it,"
                        + " put 'options kvm_intel enable_apicv=1' into /etc/modprobe.d/kvm.conf");
        assertThat(remedy.takes()).isEqualTo(Takes.MODULE_RELOAD);
        assertThat(remedies(finding(amd().put("sys/module/kvm_amd/parameters/avic", "N\n"), Check.POSTING)))
                .contains("modprobe kvm_amd avic=1 npt=1")
                .doesNotContain("enable_apicv");
    }

    @Test
    void apicVirtualizationThatTheProcessorLacksCannotBeSwitchedOn() throws IOException {
        RecordedHost host = intel().put("sys/module/kvm_intel/parameters/enable_apicv", "N\n")
                .put(
                        "proc/cpuinfo",
                        "vendor_id\t: GenuineIntel\nflags\t\t: cx16 vmx\nvmx flags\t: vnmi preemption_timer ept\n");
        assertThat(finding(host, Check.POSTING).remedies())
                .containsExactly(
                        Remedy.of(Change.HARDWARE, "use a processor that virtualizes the APIC", Takes.NOTHING, ""));
        for (String flag : List.of("apicv", "posted_intr")) {
            host.put("proc/cpuinfo", "vendor_id\t: GenuineIntel\nflags\t\t: cx16 vmx\nvmx flags\t: " + flag + " ept\n");
            assertThat(remedies(finding(host, Check.POSTING))).as(flag).contains("enable_apicv=1");
        }
    }

    /** The module takes it and switches it off, for a reason that is in its log. */
    @ParameterizedTest
    @CsvSource({
        "quiet kvm_amd.avic=1,                      the kernel's command line already has kvm_amd.avic=1",
        "kvm-amd.avic=1 kvm_amd.npt=1,              the kernel's command line already has kvm-amd.avic=1 and kvm_amd.npt=1",
        "kvm_amd.avic=1 kvm_amd.npt=0 kvm_amd.sev=1, remove kvm_amd.npt=0 from the kernel's command line",
        "kvm_amd.npt=1,                             put 'options kvm_amd avic=1 npt=1' into /etc/modprobe.d/kvm.conf",
        "kvm_amd.avic=1 kvm_amd.avic=no,            remove kvm_amd.avic=no from the kernel's command line",
        "kvm_amd.sev=1,                             put 'options kvm_amd avic=1 npt=1' into /etc/modprobe.d/kvm.conf",
    })
    void whatTheCommandLineSwitchesOnIsNotSwitchedOnAgain(String words, String says) throws IOException {
        RecordedHost host =
                amd().put("sys/module/kvm_amd/parameters/avic", "N\n").put("proc/cmdline", words + "\n");
        assertThat(remedies(finding(host, Check.POSTING))).contains(says);
    }

    @Test
    void explainSaysWhatTheReloadCosts() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic")
                .put("sys/module/kvm_amd/parameters/avic", "N\n")
                .put("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nflags\t\t: fpu cx16 svm x2apic avic\n");
        HostFacts facts = new HostFacts(host.tree());
        InterruptPath chain = DeviceChains.read(
                facts, facts.pci(PciAddress.parse("0000:00:02.0")).orElseThrow(), 0);
        assertThat(Remedy.text(chain.claim(Claim.Question.ELIGIBLE)
                                .orElseThrow()
                                .remedies())
                        .orElse(""))
                .startsWith("stop all VMs, then: modprobe -r kvm_amd && modprobe kvm_amd avic=1");
    }

    /** A vendor's kernel may have a change of a later version, so that a version proves nothing. */
    @ParameterizedTest
    @CsvSource({
        "5.15.80,                    inhibited",
        "5.15.0-130-generic,         inhibited",
        "5.14.0-503.el9.x86_64,      may-be-inhibited",
        "5.14.21-150500.55-default,  may-be-inhibited",
        "6.18.5,                     inhibited",
        "6.18.0-9-generic,           not-visible",
        "6.18.0-4.el11.x86_64,       not-visible"
    })
    void versionOfAVendorProvesNoInhibit(String release, String reason) throws IOException {
        RecordedHost host = GuestHosts.guest(
                        GuestHosts.of("amd-avic"),
                        "02",
                        "/usr/bin/qemu-system-x86_64 -cpu host -machine q35,kernel-irqchip=split")
                .put("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nflags\t\t: fpu cx16 svm avic\n")
                .put("proc/sys/kernel/osrelease", release + "\n");
        assertThat(finding(host, Check.AVIC_INHIBITS).reason()).isEqualTo(reason);
    }

    @Test
    void parameterThatIsGivenIsNotAdvised() throws IOException {
        RecordedHost host = intel().withoutIommu();
        assertThat(remedies(finding(host.put("proc/cmdline", "quiet\n"), Check.IOMMU)))
                .contains("add intel_iommu=on iommu=pt");
        assertThat(remedies(finding(host.put("proc/cmdline", "intel_iommu=on,sm_on\n"), Check.IOMMU)))
                .doesNotContain("add intel_iommu=on");
        host.put("proc/cmdline", "intel_iommu=sm_on,off\n");
        assertThat(remedies(finding(host, Check.IOMMU))).contains("remove intel_iommu=sm_on,off");
    }

    /** An IOMMU that translates is on: only remapping is not. */
    @Test
    void remappingDoesNotDependOnIntelIommu() throws IOException {
        Finding finding = finding(remapsNothing(intel()).put("proc/cmdline", "quiet\n"), Check.REMAPPING);
        assertThat(finding.reason()).isEqualTo("off");
        assertThat(remedies(finding))
                .doesNotContain("intel_iommu=on", "enable VT-d")
                .contains("DMAR-IR", "x2APIC");
        assertThat(remedies(finding(remapsNothing(intel()).put("proc/cmdline", "quiet noapic\n"), Check.REMAPPING)))
                .contains("remove noapic")
                .doesNotContain("x2APIC");
    }

    @Test
    void unsafeInterruptsAreAllowedInTheLoadedModule() throws IOException {
        Finding finding = finding(remapsNothing(intel()), Check.VFIO);
        assertThat(finding.reason()).isEqualTo("no-remapping");
        assertThat(finding.remedies())
                .filteredOn(remedy -> remedy.text().contains("unsafe"))
                .singleElement()
                .matches(remedy -> remedy.takes() == Takes.LIVE
                        && remedy.text()
                                .contains("echo 1 > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts")
                        && !remedy.text().contains("modprobe"));
    }

    @Test
    void unsafeInterruptsOfIommufdCountAlso() throws IOException {
        RecordedHost host = remapsNothing(intel()).put("sys/module/iommufd/parameters/allow_unsafe_interrupts", "Y\n");
        assertThat(finding(host, Check.VFIO).reason()).isNotEqualTo("no-remapping");
        Finding both = finding(
                host.put("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n"),
                Check.UNSAFE_INTERRUPTS);
        assertThat(remedies(both)).contains("/sys/module/vfio_iommu_type1/", "/sys/module/iommufd/");
    }

    @Test
    void devicesWithoutAnIommuAreUnsafe() throws IOException {
        Finding finding = finding(
                intel().put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n"), Check.UNSAFE_INTERRUPTS);
        assertThat(finding.status()).isEqualTo(Status.WARN);
        assertThat(finding.reason()).isEqualTo("noiommu");
        assertThat(remedies(finding)).contains("echo N > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
    }

    @Test
    void parametersThatMayNotBeReadAreNotCalledSafe() throws IOException {
        Finding finding = finding(
                intel().deny("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"),
                Check.UNSAFE_INTERRUPTS);
        assertThat(finding.status()).isEqualTo(Status.UNKNOWN);
        assertThat(finding.needsRoot()).isTrue();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {"''", "Max locked memory 99999999999999999999 99999999999999999999 bytes"})
    void memoryLimitThatIsNotShownIsNotCalledUnlimited(String row) throws IOException {
        RecordedHost host = intel().put("proc/self/limits", "Max open files  65536 65536 files\n" + row + "\n")
                .put("proc/self/status", "Name:\tjava\nCapEff:\t0000000000000000\n");
        Finding finding = finding(host, Check.LIMITS);
        assertThat(finding.status()).isEqualTo(Status.UNKNOWN);
        assertThat(finding.text()).contains("locked memory not shown").doesNotContain("unlimited locked memory");
        assertThat(finding.facts()).doesNotContainKey("locksAnyMemory").containsEntry("openFiles", 65_536L);
    }
}
