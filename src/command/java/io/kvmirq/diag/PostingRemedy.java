/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.diag.Remedy.Change;
import io.kvmirq.diag.Remedy.Takes;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;

/** The change that enables posting on an x86 host, for doctor and explain. */
final class PostingRemedy {
    private PostingRemedy() {}

    /** @param flaw the reason why {@code posting} cannot post */
    static Remedy of(HostFacts host, PostingHost posting, PostingObstacle flaw) {
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
        return Remedy.of(
                Change.MODULE_OPTION,
                "end all VMs, then: modprobe -r " + module + " && modprobe " + module + " " + options
                        + "; to keep it, put 'options " + module + " " + options + "' into " + HostKvm.OPTIONS,
                Takes.MODULE_RELOAD,
                "all VMs of the host have to end for it");
    }
}
