/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.diag.sources.VmmOptions;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import io.kvmirq.path.Remedy.Takes;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The verdict of each check, by the files that decide it. */
class DoctorTest {
    private static Finding finding(HostFiles tree, Check check) {
        return Doctor.examine(new HostFacts(tree), EnumSet.of(check)).get(0);
    }

    private static Finding finding(RecordedHost host, Check check) {
        return finding(host.tree(), check);
    }

    private static RecordedHost intel() throws IOException {
        return RecordedHost.of("intel-posted");
    }

    private static RecordedHost amd() throws IOException {
        return RecordedHost.of("amd-avic");
    }

    /** A file of a host that posts, and a text of it that changes the verdict of a check. */
    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "IRQCHIP; split-only; boot/config-6.18.3; # CONFIG_KVM_IOAPIC is not set",
                "IRQCHIP; split-only; boot/config-6.18.3; CONFIG_KVM_IOAPIC_OF_ANOTHER=y",
                "NESTED; guest; proc/cpuinfo; vendor_id : GenuineIntel~flags : vmx hypervisor",
                "REMAPPING; off; proc/interrupts;   9:  0  IO-APIC  9-fasteoi  acpi",
                "POSTING; switched-off; proc/cmdline; intremap=nopost",
                "POSTING; no-remapping; proc/cmdline; intremap=off",
                "POSTING; no-apic-virtualization; sys/module/kvm_intel/parameters/enable_apicv; N",
                "POSTING; devices-not-posted; sys/module/kvm_intel/parameters/enable_device_posted_irqs; N",
                "UNSAFE_INTERRUPTS; allowed; sys/module/iommufd/parameters/allow_unsafe_interrupts; Y",
                "LIMITS; open-files; proc/self/limits; Max open files   1024   4096   files",
                "LIMITS; vectors; sys/kernel/debug/irq/domains/VECTOR; | CPU | avl | man~    0  15   0   0"
            })
    void aFileChangesTheVerdict(Check check, String reason, String path, String text) throws IOException {
        assertThat(finding(intel(), check).status()).isEqualTo(Status.PASS);
        Finding finding = finding(intel().put(path, text.replace('~', '\n') + "\n"), check);
        assertThat(finding.reason()).isEqualTo(reason);
        assertThat(finding.status()).isIn(Status.WARN, Status.FAIL);
        assertThat(finding.remedies()).isNotEmpty();
    }

    @Test
    void eitherWayToDeliverIntxIsEnough() throws IOException {
        Finding split = finding(intel().put("boot/config-6.18.3", "# CONFIG_KVM_IOAPIC is not set\n"), Check.IRQCHIP);
        assertThat(split.remedies()).hasSize(2);
        assertThat(split.oneIsEnough()).isTrue();
    }

    /** The flag vmx is no word of arm64. */
    @Test
    void hostOfArmWithoutKvmIsNotAskedForVmx() throws IOException {
        Finding finding =
                finding(RecordedHost.of("arm64-6.12").remove("dev/kvm").remove("sys/module/kvm"), Check.KVM);
        assertThat(finding.text()).doesNotContain("vmx");
    }

    /** A device tree without the maintenance interrupt leaves KVM without a VGIC, whatever GIC the host has. */
    @Test
    void irqchipThatKvmDoesNotEmulateIsNone() throws IOException {
        RecordedHost host = RecordedHost.of("arm64-6.12").put("dev/kvm", "");
        assertThat(finding(host, Check.IRQCHIP).reason()).isEqualTo("vgic-v3");
        String rows = host.tree().text("proc/interrupts").orElseThrow().replaceAll("(?m)^.* vgic$\n?", "");
        assertThat(finding(host.put("proc/interrupts", rows), Check.IRQCHIP).reason())
                .isEqualTo("no-vgic");
    }

    @Test
    void timeThatTheMachineBelowKeptIsNamed() throws IOException {
        RecordedHost host = intel().put("proc/cpuinfo", "vendor_id : GenuineIntel\nflags : vmx hypervisor\n");
        assertThat(finding(host.put("proc/stat", "cpu  1 2 3\ncpu0 9 0 9 99 0 0 0 1 0 0\nintr 5\n"), Check.NESTED)
                        .reason())
                .isEqualTo("guest");
        Finding steal = finding(
                host.put("proc/stat", "cpu0 9 0 9 99 0 0 0 99 0 0\ncpu3 10000 0 0 48000 0 0 0 42000 0 0\n"),
                Check.NESTED);
        assertThat(steal.reason()).isEqualTo("steal");
        assertThat(steal.text())
                .contains("has kept CPU 3 from this host for 42 % of the time", "this host is itself a guest");
        assertThat(finding(host.put("proc/stat", "cpu0 x\ncpu1\n"), Check.NESTED)
                        .reason())
                .isEqualTo("guest");
    }

    /** Linux before 6.16 has no parameter that answers for all units: one that cannot post ends posting. */
    @Test
    void aUnitThatCannotPostIsHardware() throws IOException {
        RecordedHost host = intel().remove("sys/module/kvm_intel/parameters/enable_device_posted_irqs")
                .put("proc/sys/kernel/osrelease", "6.12.5\n");
        assertThat(finding(host, Check.POSTING).status()).isEqualTo(Status.PASS);
        // cap_show() of drivers/iommu/intel/iommu.c; PI is bit 59
        Finding finding = finding(host.put("sys/class/iommu/dmar1/intel-iommu/cap", "d2008c22260286\n"), Check.POSTING);
        assertThat(finding.status()).isEqualTo(Status.WARN);
        assertThat(finding.reason()).isEqualTo("unit-cannot-post");
        assertThat(finding.text()).startsWith("dmar1 cannot post (CAP.PI is 0), so ");
        assertThat(finding.remedies())
                .containsExactly(
                        Remedy.of(Change.HARDWARE, PostingObstacle.UNIT_CANNOT_POST.remedy(), Takes.NOTHING, ""));
    }

    /** A prefix of paths that are gone. */
    @ParameterizedTest
    @CsvSource({
        "KVM,     UNKNOWN, file-not-shown,    dev/",
        "KVM,     FAIL,    no-file,           dev/kvm",
        "IRQCHIP, UNKNOWN, full-not-shown,    boot/",
        "NESTED,  UNKNOWN, not-shown,         proc/cpuinfo",
        "IOMMU,   UNKNOWN, not-shown,         sys/class/iommu",
        "REMAPPING, UNKNOWN, not-shown,       proc/interrupts",
        "POSTING, UNKNOWN, not-known,         proc/cmdline",
        "VFIO,    WARN,    not-loaded,        sys/",
        "LIMITS,  UNKNOWN, not-shown,         proc/self"
    })
    void aMissingFileIsSaidAndNotGuessed(Check check, Status status, String reason, String gone) throws IOException {
        RecordedHost host = intel().put("dev/null", "").put("sys/bus/pci/drivers/ice/new_id", "");
        Finding finding = finding(host.remove(gone).put("sys/bus/pci/drivers/ice/new_id", ""), check);
        assertThat(finding.status()).as(finding.text()).isEqualTo(status);
        assertThat(finding.reason()).isEqualTo(reason);
        assertThat(finding.remedies()).isNotEmpty();
    }

    /** A copy of a host may lack sysfs, whose links some programs do not copy. */
    @Test
    void deviceIsNotGoneFromSysfsThatWasNotCopied() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        String device = "sys/bus/pci/devices/0000:00:02.0";
        Finding gone = finding(host.remove(device), Check.PATHS);
        assertThat(gone.status()).isEqualTo(Status.FAIL);
        Finding copied = finding(host.remove("sys/bus/pci/devices"), Check.PATHS);
        assertThat(copied.status()).as(copied.text()).isEqualTo(Status.UNKNOWN);
        assertThat(copied.reason()).isEqualTo("not-shown");
        assertThat(copied.text())
                .startsWith("VFIO has armed interrupts of 0000:00:02.0, but /sys/bus/pci/devices lists");
        assertThat(DeviceChains.gone(new HostFacts(host.tree()), PciAddress.parse("0000:00:02.0")))
                .isEmpty();
    }

    @Test
    void withoutTheModuleTheProcessorSaysWhichOneToLoad() throws IOException {
        RecordedHost host = intel().remove("dev/kvm").remove("sys/module/kvm").put("dev/null", "");
        Finding unloaded = finding(host, Check.KVM);
        assertThat(unloaded.reason()).isEqualTo("no-module");
        assertThat(unloaded.remedies())
                .containsExactly(new Remedy(Change.COMMAND, "modprobe kvm_intel", Takes.LIVE, Optional.empty()));
        host.put("proc/cpuinfo", "vendor_id : GenuineIntel\nflags : cx16\n");
        assertThat(finding(host, Check.KVM).remedies().get(0))
                .isEqualTo(Remedy.of(Change.FIRMWARE, "enable VT-x, or SVM on AMD", Takes.REBOOT, ""));
        host.put("proc/cpuinfo", "vendor_id : GenuineIntel\nflags : cx16 hypervisor\n");
        assertThat(finding(host, Check.KVM).remedies().get(0).change()).isEqualTo(Change.VMM_FLAG);
    }

    /** The files of AMD with a VM, as a plain user sees them: no process of others, no debugfs, not /dev/kvm. */
    @Test
    void aPlainUserIsToldWhatRootWouldSee() {
        Map<String, byte[]> files = Map.of(
                "proc/cpuinfo", "x\nvendor_id : AuthenticAMD\nflags : svm\n".getBytes(UTF_8),
                "proc/cmdline", "ro\n".getBytes(UTF_8),
                "proc/version", "Linux version 6.12.5 (gcc)\n".getBytes(UTF_8),
                "proc/interrupts", "  9:  0  IR-IO-APIC  9-fasteoi  acpi\n".getBytes(UTF_8),
                "proc/4242/comm", "qemu\n".getBytes(UTF_8),
                "proc/self/limits",
                        "Max open files   4096   4096   files\nMax locked memory 8388608 1 b\n".getBytes(UTF_8),
                "proc/self/status", "CapEff:\t0000000000000000\n".getBytes(UTF_8),
                "sys/module/kvm_amd/parameters/avic", "Y\n".getBytes(UTF_8),
                "sys/class/iommu/ivhd0/amd-iommu/features", "246577efa2254afa:0\n".getBytes(UTF_8),
                "dev/null", new byte[0]);
        HostFiles tree = HostFiles.of(files, Map.of(), Set.of("dev/kvm", "proc/4242/fd", "sys/kernel/debug"));
        assertThat(finding(tree, Check.KVM))
                .satisfies(finding -> assertThat(finding.reason()).isEqualTo("no-permission"))
                .satisfies(finding -> assertThat(finding.status()).isEqualTo(Status.FAIL));
        Finding inhibits = finding(tree, Check.AVIC_INHIBITS);
        assertThat(inhibits.status()).isEqualTo(Status.UNKNOWN);
        assertThat(inhibits.needsRoot()).isTrue();
        assertThat(inhibits.facts()).containsEntry("unreadableProcesses", 1L);
        Finding limits = finding(tree, Check.LIMITS);
        assertThat(limits.reason()).isEqualTo("locked-memory");
        assertThat(limits.needsRoot()).isTrue();
    }

    /** The VMM runs as root, or as a user of its own. */
    @Test
    void deviceThatThisUserMayNotOpenIsNoFailure() throws IOException {
        RecordedHost host = RecordedHost.of("intel-posted").closed().deny("dev/vfio/15");
        Finding finding = finding(host, Check.VFIO);
        assertThat(finding.status()).isEqualTo(Status.WARN);
        assertThat(finding.reason()).isEqualTo("no-permission");
        assertThat(finding.text())
                .isEqualTo("this user has no permission to open /dev/vfio/15, so a VMM that this user starts cannot use"
                        + " 0000:3b:00.0;"
                        + " other users' VMMs are not affected");
        assertThat(finding.needsRoot()).isTrue();
        host.link("sys/kernel/iommu_groups/15/devices/0000:3b:00.1", "x")
                .link("sys/bus/pci/devices/0000:3b:00.1/driver", "../../../../bus/pci/drivers/ice");
        assertThat(finding(host, Check.VFIO).reason()).isEqualTo("group-not-viable");
        assertThat(finding(host, Check.VFIO).status()).isEqualTo(Status.FAIL);
    }

    /** The process is gone or its number reused; not one that runs, nor one of another namespace or program. */
    @Test
    void tracingThatAKilledRunLeftIsNamed() throws IOException {
        RecordedHost host = intel().link("proc/self/ns/pid", "pid:[4026531836]")
                // do_task_stat() in fs/proc/array.c: the 22nd number is the start.
                .put(
                        "proc/77/stat",
                        "77 (ja) va) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 500 20" + " 0".repeat(30) + "\n");
        String instances = "sys/kernel/tracing/instances/";
        for (String name : List.of("kvmirq-77-500-4026531836", "kvmirq-88-500-4026530000", "acme", "kvmirq-x")) {
            host.put(instances + name + "/tracing_on", "1\n");
        }
        assertThat(finding(host, Check.TRACING).status()).isEqualTo(Status.PASS);
        String gone = instances + "kvmirq-88-500-4026531836";
        String reused = instances + "kvmirq-77-499-4026531836";
        host.put(gone + "/tracing_on", "1\n").put(reused + "/tracing_on", "1\n");
        Finding finding = finding(host, Check.TRACING);
        assertThat(finding.status()).isEqualTo(Status.WARN);
        assertThat(finding.facts()).containsEntry("left", List.of("/" + reused, "/" + gone));
        assertThat(finding.remedies().get(0).text()).startsWith("rmdir /" + reused + " /" + gone + ", ");

        Capture capture = Capture.take(host.tree(), Capture::analysis, true);
        assertThat(finding(capture.tree(), Check.TRACING).facts()).isEqualTo(finding.facts());
        assertThat(capture.files().keySet()).noneMatch(path -> path.contains("acme"));
        assertThat(new String(capture.files().get("proc/77/stat"), UTF_8)).startsWith("77 (-) S ");

        String probes = "sys/kernel/tracing/events/kvmirq/";
        String probe = probes + "kvmirq_88_500_4026531836_host_irq";
        host.put(probes + "kvmirq_77_500_4026531836_wakeup/id", "1\n").put(probe + "/id", "2\n");
        Finding probed = finding(host, Check.TRACING);
        assertThat(probed.facts()).containsEntry("left", List.of("/" + reused, "/" + gone, "/" + probe));
        assertThat(probed.remedies().get(0).text()).startsWith("kvmirq list --live 1, ");

        host.deny("sys/kernel/tracing");
        assertThat(finding(host, Check.TRACING).status()).isEqualTo(Status.UNKNOWN);
        assertThat(finding(host, Check.TRACING).needsRoot()).isTrue();
    }

    @Test
    void switchedOffProbesAreWarnedOf() throws IOException {
        for (String file : List.of("sys/kernel/debug/kprobes/enabled", "proc/sys/kernel/ftrace_enabled")) {
            Finding finding = finding(intel().put(file, "0\n"), Check.TRACING);
            assertThat(finding.status()).isEqualTo(Status.WARN);
            assertThat(finding.reason()).isEqualTo("probes-off");
            assertThat(finding.text()).contains(" is 0)", "; explain --live counts no stages");
            assertThat(finding(intel().put(file, "1\n"), Check.TRACING).status())
                    .isEqualTo(Status.PASS);
        }
    }

    @Test
    void probesOfArmNeedNoFtrace() throws IOException {
        RecordedHost arm = RecordedHost.of("arm64-6.12").put("proc/sys/kernel/ftrace_enabled", "0\n");
        assertThat(finding(arm, Check.TRACING).status()).isEqualTo(Status.PASS);
    }

    @Test
    void switchedOffProbesDoNotHideWhatIsLeft() throws IOException {
        RecordedHost host = intel().put("sys/kernel/debug/kprobes/enabled", "0\n");
        host.link("proc/self/ns/pid", "pid:[4026531836]");
        String left = "sys/kernel/tracing/instances/kvmirq-99-500-4026531836";
        Finding both = finding(host.put(left + "/tracing_on", "1\n"), Check.TRACING);
        assertThat(both.text()).contains("kprobes are off", "; killed kvmirq --live runs left ", "/" + left);
        assertThat(both.facts()).containsEntry("left", List.of("/" + left));
        assertThat(both.remedies()).extracting(Remedy::text).hasSize(2);
        Finding hidden = finding(host.deny("sys/kernel/tracing"), Check.TRACING);
        assertThat(hidden.status()).isEqualTo(Status.WARN);
        assertThat(hidden.needsRoot()).isTrue();
    }

    /** Only the first limit counts, which is the soft one. */
    @Test
    void limitsAreThoseOfTheFile() throws IOException {
        assertThat(finding(intel(), Check.LIMITS).facts())
                .containsEntry("openFiles", 1_048_576L)
                .containsEntry("lockedBytes", 8_388_608L)
                .containsEntry("locksAnyMemory", true)
                .containsEntry("gsiRoutes", 4096L)
                .containsEntry("vectorsLeft", 193L);
        RecordedHost hostile = intel().put("proc/self/limits", "Max open files 99999999999999999999 1 files\n");
        assertThat(finding(hostile, Check.LIMITS).status()).isEqualTo(Status.UNKNOWN);
    }

    /** libvirt's limit is the guest's memory and one GiB more. */
    @Test
    void limitOfAVmmThatIsUsedUpIsNamed() throws IOException {
        RecordedHost host = GuestHosts.of("intel-posted")
                .put(
                        "proc/100/limits",
                        "Max open files   65536   65536   files\nMax locked memory   17179869184   17179869184   bytes\n")
                .put("proc/self/limits", "Max open files   65536   65536   files\n");
        String locked = "VmLck:\t16777216 kB\nVmPin:\t       0 kB\nCapEff:\t0000000000000000\n";
        Finding full = finding(host.put("proc/100/status", locked), Check.LIMITS);
        assertThat(full.status()).isEqualTo(Status.WARN);
        assertThat(full.text())
                .startsWith(
                        "web (process 100) uses 17179869184 of 17179869184 bytes of locked memory, so the next vector or"
                                + " device will fail; web (process 100): 65536 open files");
        assertThat(finding(host.put("proc/100/status", locked.replace("16777216", "15728640")), Check.LIMITS)
                        .status())
                .as("a GiB left")
                .isEqualTo(Status.PASS);
        assertThat(finding(
                                host.put("proc/100/status", locked.replace("0000000000000000", "000001ffffffffff")),
                                Check.LIMITS)
                        .status())
                .as("CAP_IPC_LOCK")
                .isEqualTo(Status.PASS);
        for (int fd = 100; fd < 1122; fd++) {
            host.link("proc/100/fd/" + fd, "anon_inode:[eventfd]");
        }
        host.put("proc/100/limits", "Max open files   1026   1026   files\n");
        assertThat(finding(host, Check.LIMITS).reason()).isEqualTo("used-up");
    }

    /** A service or libvirt gives a VMM its limits, whatever the shell has. */
    @Test
    void limitsOfARunningVmmAreJudgedNotThoseOfTheShell() throws IOException {
        String plenty = "Max open files   65536   65536   files\nMax locked memory   unlimited   unlimited   bytes\n";
        String few = "Max open files   256   256   files\nMax locked memory   65536   65536   bytes\n";
        RecordedHost host =
                GuestHosts.of("intel-posted").remove("proc/100/limits").put("proc/self/limits", plenty);
        assertThat(finding(host, Check.LIMITS).text())
                .startsWith("this shell: 65536 open files, unlimited locked memory (a VMM");
        Finding warned = finding(host.put("proc/100/limits", few), Check.LIMITS);
        assertThat(warned.status()).isEqualTo(Status.WARN);
        assertThat(warned.reason()).isEqualTo("open-files");
        assertThat(warned.text()).startsWith("web (process 100): 256 open files, 64 KiB of locked memory; ");
        assertThat(warned.remedies()).hasSizeGreaterThanOrEqualTo(2);
        host.put("proc/100/status", "CapEff:\t000001ffffffffff\n").put("proc/100/limits", few.replace("256", "4096"));
        assertThat(finding(host, Check.LIMITS).status()).isEqualTo(Status.PASS);
        host.put("proc/self/limits", few).put("proc/100/limits", plenty);
        assertThat(finding(host, Check.LIMITS).status()).isEqualTo(Status.PASS);
        assertThat(finding(host.put("proc/sys/fs/file-nr", "94\t0\t100\n"), Check.LIMITS)
                        .status())
                .isEqualTo(Status.PASS);
        assertThat(finding(host.put("proc/sys/fs/file-nr", "95\t0\t100\n"), Check.LIMITS)
                        .text())
                .startsWith(
                        "the host uses 95 of 100 open files (fs.file-max), so VMMs may soon get no more; web (process"
                                + " 100)");
        host.put("sys/kernel/debug/irq/domains/VECTOR", "| CPU | avl | man\n    0  16   0   0\n");
        assertThat(finding(host.remove("proc/sys/fs/file-nr"), Check.LIMITS).status())
                .as("16 vectors left")
                .isEqualTo(Status.PASS);
        RecordedHost virtio = GuestHosts.of("virtio").put("proc/100/limits", few.replace("256", "4096"));
        assertThat(finding(virtio, Check.LIMITS).status())
                .as("locked memory of a guest without a device")
                .isEqualTo(Status.PASS);
        host.remove("proc/100/limits");
        assertThat(finding(host, Check.LIMITS).reason()).isEqualTo("open-files");
    }

    @ParameterizedTest
    @CsvSource({"4, ''", "5, '; and 1 more'", "6, '; and 2 more'"})
    void limitsNameFourVmms(int count, String rest) throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        for (int i = 1; i < count; i++) {
            host.copy("proc/100/", "proc/" + (100 + 100 * i) + "/");
        }
        assertThat(finding(host, Check.LIMITS).text())
                .contains("(process 400): 1048576 open files, locked memory not shown" + rest + "; a VM may have");
    }

    @Test
    void checkThatFailsIsNamedAndTheOthersGoOn() throws IOException {
        HostFiles tree = GuestHosts.of("amd-avic").tree();
        HostFiles damaged = (HostFiles) Proxy.newProxyInstance(
                HostFiles.class.getClassLoader(), new Class<?>[] {HostFiles.class}, (proxy, method, arguments) -> {
                    if ("sys/kernel/iommu_groups".equals(arguments[0])) {
                        throw new IllegalStateException("planted");
                    }
                    return method.invoke(tree, arguments);
                });
        Set<Check> checks = EnumSet.complementOf(EnumSet.of(Check.BACKENDS, Check.KERNEL_MEMORY));
        List<Finding> found = Doctor.examine(new HostFacts(damaged), checks);
        List<Finding> whole = Doctor.examine(new HostFacts(tree), checks);
        assertThat(found).hasSameSizeAs(whole);
        for (int i = 0; i < whole.size(); i++) {
            if (whole.get(i).check() == Check.IOMMU) {
                assertThat(found.get(i).reason()).isEqualTo("failed");
                assertThat(found.get(i).text()).endsWith("IllegalStateException: planted");
            } else {
                assertThat(found.get(i)).isEqualTo(whole.get(i));
            }
        }
    }

    /** Who ends all VMs to load the module anew learns of the next obstacle before. */
    @Test
    void inhibitsBehindAnotherObstacleAreTold() throws IOException {
        RecordedHost host = GuestHosts.of("amd-pit").put("sys/module/kvm_amd/parameters/avic", "N\n");
        Finding later = finding(host, Check.AVIC_INHIBITS);
        assertThat(later.status()).isEqualTo(Status.WARN);
        assertThat(later.text()).startsWith("posting is off on this host (see posting); once it is on, ");
        assertThat(later.text()).contains("web (process 100): pit_reinj");
        assertThat(later.remedies().get(0).takes()).isEqualTo(Takes.VMM_RESTART);
        host.remove("proc/100/");
        assertThat(finding(host, Check.AVIC_INHIBITS).status()).isEqualTo(Status.PASS);
    }

    /** A remedy is of one kind, and names a word only if the command line has it. */
    @Test
    void remappingThatIsSwitchedOffIsSwitchedOnByItsWord() throws IOException {
        RecordedHost host = intel().put("proc/cmdline", "intel_iommu=on intremap=off\n")
                .put("proc/interrupts", "   9:  0  IO-APIC  9-fasteoi  acpi\n");
        Remedy remove = new Remedy(
                Change.KERNEL_PARAMETER,
                "remove intremap=off",
                Takes.REBOOT,
                Optional.of("drivers that set up DMA wrongly fail"));
        for (Check check : List.of(Check.REMAPPING, Check.POSTING)) {
            assertThat(finding(host, check).remedies()).containsExactly(remove);
        }
        Finding vfio = finding(host, Check.VFIO);
        assertThat(vfio.remedies()).extracting(Remedy::change).containsExactly(Change.SEE, Change.COMMAND);
        assertThat(vfio.remedies().get(1).takes()).isEqualTo(Takes.LIVE);
        HostFacts facts = new HostFacts(host.tree());
        PciDevice bound = facts.pci(facts.boundToVfio().get(0)).orElseThrow();
        assertThat(VfioOutlook.read(facts, bound).refusals())
                .filteredOn(refusal -> refusal.cause() == VfioOutlook.Obstacle.NO_REMAPPING)
                .singleElement()
                .satisfies(refusal -> assertThat(refusal.remedies())
                        .containsExactly(remove, vfio.remedies().get(1)));
    }

    private static VmProcess vmm(int highestVcpu, String... words) {
        return new VmProcess(
                7,
                "vmm",
                Optional.empty(),
                List.of(words),
                List.of(3),
                List.of(new VmProcess.VcpuFile(highestVcpu, 4, OptionalInt.empty())),
                List.of(),
                List.of(),
                List.of(),
                List.of());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "PIT_REINJ; qemu-system-x86_64 -machine q35",
                "PIT_REINJ; /usr/libexec/qemu-kvm -global kvm-pit.lost_tick_policy=delay",
                "; qemu-system-x86_64 -global kvm-pit.lost_tick_policy=discard",
                "; qemu-system-x86_64 -no-kvm-pit-reinjection",
                "; qemu-system-x86_64 -machine q35,kernel-irqchip=split",
                "; qemu-system-x86_64 -M microvm,pit=off",
                "ABSENT; qemu-system-x86_64 -machine q35,kernel-irqchip=off",
                "HYPERV PIT_REINJ; qemu-system-x86_64 -cpu host,hv-synic,hv-stimer",
                "PIT_REINJ; qemu-system-x86_64 -cpu host,hv-synic,hv-apicv",
                "PIT_REINJ; qemu-system-x86_64 -global kvm-pit.lost_tick_policy=discard -global"
                        + " kvm-pit.lost_tick_policy=delay",
                "PIT_REINJ; qemu-system-x86_64 -no-kvm-pit-reinjection -global"
                        + " driver=kvm-pit,property=lost_tick_policy,value=delay",
                "; qemu-system-x86_64 -global value=discard,property=lost_tick_policy,driver=kvm-pit",
                "HYPERV; qemu-system-x86_64 -machine q35,kernel-irqchip=split -cpu host,hv-passthrough",
                "; qemu-system-x86_64 -machine q35,kernel-irqchip=split -cpu host,hv-passthrough=off",
                "HYPERV; qemu-system-x86_64 -machine q35,kernel-irqchip=split -global host-x86_64-cpu.hv-synic=on",
                "HYPERV; qemu-system-x86_64 -machine q35,kernel-irqchip=split -cpu host,hv-synic,hv-apicv,hv-apicv=off",
                "HYPERV; qemu-system-x86_64 -machine q35,kernel-irqchip=split -cpu host,hv-synic -global X86CPU.hv-synic=off",
                "; qemu-system-x86_64 -machine q35,kernel-irqchip=split -cpu host,hv-synic -cpu host",
                "HYPERV; qemu-system-x86_64 -machine q35,kernel-irqchip=split -cpu host,+hv_synic",
                "BLOCKIRQ; qemu-system-x86_64 -machine q35,kernel-irqchip=split -s",
                "BLOCKIRQ; qemu-system-x86_64 -machine q35,kernel-irqchip=split --gdb tcp::1234",
                "; qemu-system-x86_64 -machine q35,kernel-irqchip=split -global . -global x. -global .=",
                "SEV PIT_REINJ; qemu-system-x86_64 -object sev-guest,id=sev0",
                "PIT_REINJ; lkvm run -d x",
                "; cloud-hypervisor --cpus boot=1"
            })
    void commandLinesOfVmmsInhibit(String reasons, String line) {
        Set<InhibitReason> expected = EnumSet.noneOf(InhibitReason.class);
        for (String name : Optional.ofNullable(reasons).orElse("").split(" ")) {
            if (!name.isEmpty()) {
                expected.add(InhibitReason.valueOf(name));
            }
        }
        PostingHost posting = PostingHost.of(Vendor.AMD);
        assertThat(reasons(vmm(0, line.split(" ")), posting)).isEqualTo(expected);
        assertThat(reasons(vmm(4096, line.split(" ")), posting)).contains(InhibitReason.PHYSICAL_ID_TOO_BIG);
    }

    @Test
    void settingsOfAConfigurationFileAreNotKnown() {
        String line = "qemu-system-x86_64 -machine q35,kernel-irqchip=split ";
        assertThat(VmmOptions.parse(vmm(0, line.split(" "))).known()).isTrue();
        assertThat(VmmOptions.parse(vmm(0, (line + "-readconfig x").split(" "))).known())
                .isFalse();
    }

    /** svm_vcpu_after_set_cpuid() of Linux 5.6 to 5.18; QEMU takes SVM from all models but host and max. */
    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "true; 5.15; true; -cpu host,x2apic=off",
                "true; 5.6; true; -cpu max,x2apic=off",
                "true; 5.18; true; -cpu EPYC,x2apic=off,svm=on",
                "true; 5.15; true; -cpu EPYC,x2apic=off -global X86CPU.svm=on",
                "false; 5.15; true; -cpu EPYC-Rome,x2apic=off",
                "false; 5.15; true; -cpu host,x2apic=off,svm=off",
                "false; 5.15; true; -cpu host,x2apic=off,-svm",
                "false; 5.15; true; -smp 2",
                "false; 5.15; false; -cpu host,x2apic=off",
                "false; 5.4; true; -cpu host,x2apic=off",
                "false; 5.19; true; -cpu host,x2apic=off"
            })
    void guestThatMayRunGuestsInhibits(boolean inhibits, String release, boolean nests, String options) {
        PostingHost newest = PostingHost.of(Vendor.AMD);
        PostingHost host = new PostingHost(
                newest.vendor(), LinuxVersion.parse(release).orElseThrow(), newest.commandLine(), newest.features());
        VmProcess vm = vmm(0, ("qemu-system-x86_64 -machine q35,kernel-irqchip=split " + options).split(" "));
        assertThat(VmmOptions.inhibits(vm, host, nests, Optional.empty()).stream()
                        .map(VmmOptions.Inhibit::reason)
                        .anyMatch(InhibitReason.NESTED::equals))
                .isEqualTo(inhibits);
    }

    private static Set<InhibitReason> reasons(VmProcess vm, PostingHost posting) {
        return VmmOptions.inhibits(vm, posting, false, Optional.empty()).stream()
                .map(VmmOptions.Inhibit::reason)
                .collect(Collectors.toSet());
    }

    /** A damaged or huge configuration is no exception. */
    @Test
    void theKernelsConfigurationIsUnpackedUpToALimit() throws IOException {
        ByteArrayOutputStream packed = new ByteArrayOutputStream();
        try (GZIPOutputStream out = new GZIPOutputStream(packed)) {
            out.write("# x\nCONFIG_KVM_IOAPIC=y\n".getBytes(UTF_8));
        }
        byte[] good = packed.toByteArray();
        assertThat(status(good)).isEqualTo(Status.PASS);
        for (int length = 0; length < good.length; length++) {
            assertThat(status(java.util.Arrays.copyOf(good, length))).isIn(Status.UNKNOWN, Status.WARN);
        }
        packed.reset();
        try (GZIPOutputStream out = new GZIPOutputStream(packed)) {
            byte[] zeros = new byte[1 << 20];
            for (int i = 0; i < 64; i++) {
                out.write(zeros);
            }
        }
        assertThat(status(packed.toByteArray())).isEqualTo(Status.WARN);
    }

    private static Status status(byte[] configuration) {
        Map<String, byte[]> files =
                Map.of("proc/config.gz", configuration, "proc/version", "Linux version 6.18.0 (gcc)\n".getBytes(UTF_8));
        return finding(HostFiles.of(files, Map.of()), Check.IRQCHIP).status();
    }

    @Test
    void pathsOfGuestsAreThoseOfExplain() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        Finding whole = finding(host, Check.PATHS);
        assertThat(whole.status()).isEqualTo(Status.PASS);
        assertThat(whole.reason()).isEqualTo("whole");
        assertThat(whole.text()).isEqualTo("1 guest device was checked, and no visible link is broken or doubtful");
        host.put("sys/bus/pci/devices/0000:00:02.0/aer_dev_fatal", "TOTAL_ERR_FATAL 3\n");
        Finding past = finding(host, Check.PATHS);
        assertThat(past.status()).isEqualTo(Status.PASS);
        assertThat(past.reason()).isEqualTo("past");
        assertThat(past.text())
                .startsWith(
                        "1 guest device was checked, and no visible link is broken; since boot, and perhaps"
                                + " no longer, 0000:00:02.0 is doubtful at its device: the device has reported 3 fatal errors (AER)");
        host.put("sys/bus/pci/devices/0000:00:02.0/enable", "0\n");
        Finding doubtful = finding(host, Check.PATHS);
        assertThat(doubtful.status()).isEqualTo(Status.WARN);
        assertThat(doubtful.text())
                .startsWith("0000:00:02.0 is doubtful at its device: the device has reported 3 fatal errors (AER)")
                .contains("the host has disabled the device");
        host.put("proc/100/status", "State:\tT (stopped)\n");
        Finding broken = finding(host, Check.PATHS);
        assertThat(broken.status()).isEqualTo(Status.FAIL);
        assertThat(broken.reason()).isEqualTo("broken");
        assertThat(broken.text())
                .isEqualTo("0000:00:02.0 is broken at its VMM: process 100 is stopped by a signal;"
                        + " 'kvmirq explain 0000:00:02.0' shows the chain");
        assertThat(broken.remedies()).extracting(Remedy::text).contains("kill -CONT 100");
        RecordedHost idle = GuestHosts.of("amd-avic").put("sys/kernel/debug/kvm/100-5/exits", "0\n");
        assertThat(finding(idle, Check.PATHS).text())
                .startsWith("0000:00:02.0 is broken at its vCPU: no vCPU of the VM has ever run");
        RecordedHost changed = GuestHosts.of("amd-avic").put("sys/kernel/debug/irq/irqs/29", "ddepth:   1\n");
        assertThat(finding(changed, Check.PATHS).text())
                .startsWith("0000:00:02.0 MSI-X 2 is broken at its host irq: the irq is disabled");
    }

    @Test
    void idsAreWordsAndEachCheckHasAnAnswer() throws IOException {
        List<Check> checked = new ArrayList<>();
        for (Finding finding : Doctor.examine(
                new HostFacts(amd().put("proc/misc", "232 kvm\n")
                        .put("kmsg", "[1.000000] Linux\n")
                        .tree()),
                EnumSet.allOf(Check.class))) {
            checked.add(finding.check());
            assertThat(finding.check().id()).matches("[a-z]+(-[a-z]+)*");
            assertThat(finding.reason()).matches("[a-z0-9]+(-[a-z0-9]+)*");
        }
        checked.addAll(List.of(Check.KERNEL_MEMORY, Check.BACKENDS));
        assertThat(checked).containsExactly(Check.values());
    }

    /** vfio says it of each device. */
    @Test
    void deviceThatVfioTakesAndThatSendsNothingFails() throws IOException {
        RecordedHost host = GuestHosts.of("intel-posted");
        assertThat(finding(host, Check.VFIO).status()).isEqualTo(Status.PASS);
        byte[] ones = new byte[4096];
        Arrays.fill(ones, (byte) -1);
        host.putBytes("sys/bus/pci/devices/0000:00:01.0/config", ones);
        Finding found = finding(host, Check.VFIO);
        assertThat(found.reason()).isEqualTo("device-broken");
        assertThat(found.text())
                .startsWith("VFIO accepts 0000:00:01.0, but it cannot send interrupts: the device does not respond");
    }

    /** No module of KVM helps if the firmware switched virtualization off. */
    @Test
    void processorWithoutVirtualizationIsNotToldToLoadAModule() throws IOException {
        RecordedHost host = intel().put("proc/cpuinfo", "vendor_id : GenuineIntel\nflags : fpu\n")
                .remove("dev/kvm");
        Finding found = finding(host, Check.KVM);
        assertThat(found.reason()).isEqualTo("no-flag");
        assertThat(found.remedies()).extracting(Remedy::change).containsExactly(Change.FIRMWARE);
    }

    @Test
    void armedDeviceOfAProgramThatIsNotSeenIsNotInOrder() throws IOException {
        Finding finding = finding(GuestHosts.of("intel-posted").remove("proc/100"), Check.PATHS);
        assertThat(finding.status()).isEqualTo(Status.UNKNOWN);
        assertThat(finding.text())
                .isEqualTo("VFIO has armed 5 interrupts of 0000:00:01.0, but no visible process has the device open");
    }

    /** The kernel removes the link before the driver's remove(), in which VFIO waits for the guest. */
    @Test
    void armedDeviceWithoutALinkOfItsDriverIsNotAccused() throws IOException {
        RecordedHost host = GuestHosts.of("intel-posted").remove("sys/bus/pci/devices/0000:00:01.0/driver");
        Finding finding = finding(host, Check.PATHS);
        assertThat(finding.status()).isEqualTo(Status.UNKNOWN);
        assertThat(finding.text())
                .contains("no link names the driver of the device, but VFIO has armed its interrupts");
        assertThat(finding(host, Check.VFIO).status()).isNotEqualTo(Status.FAIL);
        HostFacts facts = new HostFacts(host.tree());
        assertThat(VfioOutlook.read(
                                facts,
                                facts.pci(PciAddress.parse("0000:00:01.0")).orElseThrow())
                        .refusals())
                .extracting(VfioOutlook.Refusal::cause)
                .containsExactly(VfioOutlook.Obstacle.IN_USE);
    }

    @Test
    void iommuWhoseFilesAreRefusedIsNotSaidToBeOff() throws IOException {
        for (String directory : List.of("sys/class/iommu", "sys/kernel/iommu_groups")) {
            Finding finding = finding(intel().deny(directory), Check.IOMMU);
            assertThat(finding.status()).as(directory).isEqualTo(Status.UNKNOWN);
            assertThat(finding.text()).isEqualTo("/" + directory + " cannot be read by this user");
        }
        assertThat(finding(intel().deny("sys/bus/pci/devices"), Check.VFIO).text())
                .isEqualTo("/sys/bus/pci/devices cannot be read by this user");
        assertThat(finding(intel().remove("sys/class/iommu"), Check.IOMMU).text())
                .contains("/proc/interrupts has IR-* chips");
    }
}
