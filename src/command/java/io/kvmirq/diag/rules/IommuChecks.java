/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import io.kvmirq.path.Remedy.Takes;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The checks of the IOMMUs: translation of DMA, remapping of interrupts, posting. */
public final class IommuChecks {
    private static final List<String> ENDS_REMAPPING =
            List.of("intremap=off", "nointremap", "iommu=off", "amd_iommu=off");
    private static final List<String> ENDS_IOMMU = List.of("intel_iommu=off", "amd_iommu=off", "iommu=off");

    private final HostFacts host;
    private final HostKvm kvm;

    public IommuChecks(HostFacts host, HostKvm kvm) {
        this.host = host;
        this.kvm = kvm;
    }

    public Finding iommu() {
        List<String> units = host.iommus();
        int groups = host.groups();
        if (!units.isEmpty() && groups > 0) {
            String translate = String.join(", ", units) + (units.size() == 1 ? " translates" : " translate")
                    + " the DMA of devices, in " + groups + (groups == 1 ? " group" : " groups");
            Finding finding = host.files().text("proc/cmdline").orElse("").contains("pcie_acs_override=")
                    ? Finding.warn(
                                    Check.IOMMU,
                                    "acs-override",
                                    translate
                                            + "; the groups do not isolate (pcie_acs_override): a guest can reach other"
                                            + " devices by peer-to-peer DMA")
                            .with(Remedy.of(Change.KERNEL_PARAMETER, "remove pcie_acs_override, and give whole groups"))
                    : Finding.pass(Check.IOMMU, "in-use", translate);
            return finding.with("units", units).with("groups", (long) groups);
        }
        Finding finding = Finding.fail(
                        Check.IOMMU,
                        units.isEmpty() ? "no-iommu" : "no-groups",
                        (units.isEmpty() ? "no IOMMU is in use" : "no device is in an IOMMU group")
                                + ": VFIO can give no device to a guest")
                .with("units", units)
                .with("groups", (long) groups);
        return enabling(finding, ENDS_IOMMU);
    }

    /** Adds the remedies that enable the IOMMU. */
    private Finding enabling(Finding finding, List<String> words) {
        Finding with = host.isArm() ? finding : inKernel(finding, isAmd());
        for (String word : given(words)) {
            with = with.with(
                    Remedy.of(Change.KERNEL_PARAMETER, "remove " + word, "drivers that set up DMA wrongly fail"));
        }
        if (host.isArm()) {
            return with.with(Remedy.of(Change.FIRMWARE, "describe the SMMU to the kernel (IORT, or the device tree)"));
        }
        boolean amd = isAmd();
        if (kvm.hasFlag("hypervisor")) {
            with = with.with(guestIommu(amd));
        } else if (given(words).isEmpty()) {
            with = with.with(Remedy.of(Change.FIRMWARE, amd ? "enable AMD-Vi (IOMMU)" : "enable VT-d"));
        }
        if (!amd && given(List.of("intel_iommu=on")).isEmpty()) {
            with = with.with(Remedy.of(
                    Change.KERNEL_PARAMETER,
                    "add intel_iommu=on iommu=pt to the kernel's command line",
                    "devices whose DMA the firmware describes wrongly fail"));
        }
        return with;
    }

    /** Adds the kernel options that are certainly missing, without which other remedies are useless. */
    private Finding inKernel(Finding finding, boolean amd) {
        StringBuilder options = new StringBuilder();
        for (String option : List.of(amd ? "AMD_IOMMU" : "INTEL_IOMMU", "IRQ_REMAP")) {
            if (!kvm.isBuilt(option).known().orElse(true)) {
                options.append(options.length() == 0 ? "" : " and ")
                        .append("CONFIG_")
                        .append(option)
                        .append("=y");
            }
        }
        return options.length() == 0 ? finding : finding.with(Remedy.of(Change.KERNEL, "use a kernel with " + options));
    }

    private static Remedy guestIommu(boolean amd) {
        return Remedy.of(
                Change.VMM_FLAG,
                "give this guest an IOMMU (QEMU: -machine q35,kernel-irqchip=split -device "
                        + (amd ? "amd-iommu" : "intel-iommu") + ",intremap=on"
                        + (amd ? ",xtsup=on" : ",caching-mode=on") + ")",
                "DMA of its devices becomes slower");
    }

    /** Without an IOMMU, remapping and posting have the remedies of that check. */
    private static Remedy asForIommu() {
        return Remedy.of(Change.SEE, "iommu");
    }

    private boolean isAmd() {
        return kvm.hasFlag("svm")
                || kvm.vendorModules().contains("kvm_amd")
                || host.posting().host().isPresent()
                        && host.posting().host().get().vendor() == Vendor.AMD;
    }

    /** The words that are on the kernel's command line. Values are lists, as in {@code intel_iommu=on,sm_on}. */
    private List<String> given(List<String> words) {
        List<String> given = new ArrayList<>();
        for (String word : kvm.commandLine().known().orElse(List.of())) {
            int equals = word.indexOf('=');
            boolean found = words.contains(word);
            for (String value : equals < 0
                    ? List.<String>of()
                    : List.of(word.substring(equals + 1).split(","))) {
                found |= words.contains(word.substring(0, equals + 1) + value);
            }
            if (found) {
                given.add(word);
            }
        }
        return given;
    }

    /** The IOMMUs are on, so neither the firmware nor intel_iommu=on keeps them from remapping. */
    private Finding remappingOnly(Finding finding) {
        List<String> words = given(ENDS_REMAPPING);
        Finding with = finding;
        for (String word : words) {
            with = with.with(
                    Remedy.of(Change.KERNEL_PARAMETER, "remove " + word, "drivers that set up DMA wrongly fail"));
        }
        if (kvm.hasFlag("hypervisor")) {
            return with.with(guestIommu(isAmd()));
        }
        return words.isEmpty()
                ? with.with(Remedy.of(
                        Change.FIRMWARE,
                        "do as the kernel's log says why (dmesg | grep -e DMAR-IR: -e AMD-Vi:); often the firmware"
                                + " opts out of x2APIC, or has no IOAPIC in its tables"))
                : with;
    }

    public Finding remapping() {
        if (host.interrupts().isEmpty()) {
            return Finding.unknown(
                    Check.REMAPPING, "not-shown", "/proc/interrupts cannot be read", host.forInterrupts());
        }
        if (host.isArm()) {
            return host.interrupts().get().hasChip("ITS")
                    ? Finding.pass(Check.REMAPPING, "its", "the ITS tells the messages of devices apart by device id")
                    : Finding.unknown(
                            Check.REMAPPING,
                            "no-its",
                            "no interrupt goes through an ITS, which tells the messages of devices apart",
                            "bind a device with MSI to its driver, or look for ITS in the kernel's log");
        }
        if (host.interrupts().get().hasChip("IR-")) {
            return given(List.of("intremap=nosid")).isEmpty()
                    ? Finding.pass(Check.REMAPPING, "on", "the IOMMU remaps interrupts (chips IR-*)")
                    : Finding.warn(
                                    Check.REMAPPING,
                                    "sources-not-checked",
                                    "the kernel's command line has intremap=nosid: the IOMMU remaps interrupts and does not check"
                                            + " their source, so a guest's device can send those of other devices")
                            .with(Remedy.of(Change.KERNEL_PARAMETER, "remove intremap=nosid, and boot again"));
        }
        boolean unsafe = host.allowsUnsafeInterrupts();
        Finding finding = Finding.of(
                Check.REMAPPING,
                unsafe ? Status.WARN : Status.FAIL,
                "off",
                PostingObstacle.NO_REMAPPING.text() + " (no chip IR-* in /proc/interrupts): "
                        + (unsafe ? "a device of a guest can send any interrupt to the host" : "VFIO refuses devices"));
        return host.iommus().isEmpty()
                ? finding.with(kvm.hasFlag("hypervisor") ? guestIommu(isAmd()) : asForIommu())
                : remappingOnly(finding);
    }

    public Finding posting() {
        PostingOutlook outlook = PostingOutlook.of(host);
        if (outlook.posts().isEmpty()) {
            return Finding.unknown(
                    Check.POSTING,
                    "not-known",
                    "whether hardware posts interrupts is not known: " + outlook.text(),
                    outlook.remedy().orElse("make these files readable"));
        }
        if (outlook.posts().get()) {
            return parameter(Finding.pass(Check.POSTING, "on", outlook.text()));
        }
        Optional<PostingObstacle> flaw = Optional.empty();
        if (host.posting().host().isPresent()) {
            flaw = host.posting().host().get().flaw();
        }
        Finding finding = Finding.warn(
                Check.POSTING,
                flaw.isPresent() ? Finding.id(flaw.get()) : "no-gicv4",
                outlook.text() + "; KVM delivers interrupts of devices itself");
        if (flaw.isPresent() && flaw.get() == PostingObstacle.NO_REMAPPING) {
            return ofRemapping(parameter(finding), outlook);
        }
        return parameter(finding)
                .with(flaw.isPresent() ? remedy(host, host.posting().host().get(), flaw.get()) : gicv4(outlook));
    }

    private Finding ofRemapping(Finding finding, PostingOutlook outlook) {
        if (kvm.hasFlag("hypervisor")) {
            return finding.with(Remedy.of(Change.HARDWARE, outlook.remedy().orElse("")));
        }
        return host.iommus().isEmpty() ? finding.with(asForIommu()) : remappingOnly(finding);
    }

    /** The remedies that make the host post. */
    List<Remedy> forPosting() {
        List<Remedy> remedies = posting().remedies();
        return remedies.contains(asForIommu()) ? iommu().remedies() : remedies;
    }

    private static Remedy gicv4(PostingOutlook outlook) {
        return Remedy.of(Change.KERNEL_PARAMETER, outlook.remedy().orElse(""));
    }

    /** Adds the module parameter that enables posting, since Linux 6.16. */
    private Finding parameter(Finding finding) {
        Finding with = finding;
        for (String module : kvm.vendorModules()) {
            Optional<String> value =
                    kvm.parameter(module, "enable_device_posted_irqs").known();
            if (value.isPresent()) {
                with = with.with("enableDevicePostedIrqs", value.get());
            }
        }
        return with;
    }

    /** The change that enables posting on an x86 host; {@code flaw} is the reason why it cannot post. */
    static Remedy remedy(HostFacts host, PostingHost posting, PostingObstacle flaw) {
        return switch (flaw) {
            case NO_REMAPPING -> Remedy.of(Change.FIRMWARE, flaw.remedy());
            case SWITCHED_OFF -> Remedy.of(Change.KERNEL_PARAMETER, flaw.remedy());
            case NO_VIRTUAL_APIC ->
                posting.commandLine().contains("amd_iommu_intr=legacy")
                        ? Remedy.of(
                                Change.KERNEL_PARAMETER, "remove amd_iommu_intr=legacy from the kernel's command line")
                        : Remedy.of(Change.HARDWARE, "none on this hardware");
            case NO_APIC_VIRTUALIZATION -> virtualization(host, posting);
            case DEVICES_NOT_POSTED -> reload(host, posting, "enable_device_posted_irqs=1");
            default -> Remedy.of(Change.HARDWARE, flaw.remedy());
        };
    }

    /** The parameter is also N if the processor cannot post. */
    private static Remedy virtualization(HostFacts host, PostingHost posting) {
        boolean intel = posting.vendor() == Vendor.INTEL;
        if (host.kvm().virtualizesApic().filter(can -> !can).isPresent()) {
            return Remedy.of(
                    Change.HARDWARE,
                    "none here: the processor does not virtualize the APIC"
                            + (intel ? "" : "; some that do not show it do with kvm_amd.force_avic=1"));
        }
        return reload(host, posting, intel ? "enable_apicv=1" : "avic=1 npt=1");
    }

    private static Remedy reload(HostFacts host, PostingHost posting, String options) {
        String module = posting.vendor() == Vendor.INTEL ? "kvm_intel" : "kvm_amd";
        if (!host.kvm().isModule(module).orElse(true)) {
            return Remedy.of(Change.KERNEL_PARAMETER, "add " + module + "." + options.replace(" ", " " + module + "."));
        }
        // modprobe takes the words of the kernel's command line, too.
        String words = Stream.of(posting.commandLine().split("\\s+"))
                .filter(word -> word.replace('-', '_').startsWith(module + "."))
                .collect(Collectors.joining(" and "));
        return Remedy.of(
                Change.MODULE_OPTION,
                "end all VMs, then: modprobe -r " + module + " && modprobe " + module + " " + options + "; to keep it, "
                        + (words.isEmpty()
                                ? "put 'options " + module + " " + options + "' into " + HostKvm.OPTIONS
                                : "remove " + words + " from the kernel's command line"),
                Takes.MODULE_RELOAD,
                "all VMs of the host have to end for it");
    }
}
