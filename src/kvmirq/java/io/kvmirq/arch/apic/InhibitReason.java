/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.arch.LinuxVersion;
import java.util.Objects;

/**
 * A reason why KVM inhibits APIC virtualization in a VM. {@link #ordinal} is KVM's number, which the tracepoint
 * kvm_apicv_inhibit_changed prints as {@code reason=}. Linux 6.1 lacks PHYSICAL_ID_ALIASED, so later numbers are one
 * lower there.
 *
 * <p>Source: {@code enum kvm_apicv_inhibit} in arch/x86/include/asm/kvm_host.h of Linux 6.1, 6.12 and 7.1.
 */
public enum InhibitReason {
    DISABLED(
            true,
            false,
            "a module parameter or the hardware switches APIC virtualization off",
            "load kvm_intel with enable_apicv=1 or kvm_amd with avic=1 npt=1, and create a new VM"),
    HYPERV(
            true,
            true,
            "the guest uses SynIC AutoEOI",
            "offer the guest the hint \"deprecating AutoEOI\" (QEMU: hv-apicv)"),
    ABSENT(true, true, "the VM has no irqchip yet", "create it with KVM_CREATE_IRQCHIP or KVM_CAP_SPLIT_IRQCHIP"),
    BLOCKIRQ(true, true, "a debugger blocks interrupts (KVM_GUESTDBG_BLOCKIRQ)", "end the single step"),
    PHYSICAL_ID_ALIASED(
            true, true, "two enabled LAPICs share a physical id", "set KVM_X2APIC_API_USE_32BIT_IDS in the VMM"),
    APIC_ID_MODIFIED(
            true,
            true,
            "the guest changed a LAPIC's xAPIC id",
            "have the guest keep the vCPU id as APIC id, or use x2APIC mode"),
    APIC_BASE_MODIFIED(
            true,
            false,
            "the guest moved a LAPIC away from 0xfee00000",
            "have the guest leave the LAPIC at that address, and create a new VM"),
    /** Inhibits only one vCPU's APIC virtualization, never the VM's. */
    NESTED(false, true, "the vCPU runs a nested guest", "nothing: it ends with the nested guest"),
    IRQWIN(false, true, "KVM waits to inject a PIC interrupt", "nothing: it ends when the guest takes the interrupt"),
    PIT_REINJ(
            false,
            true,
            "the PIT reinjects lost ticks",
            "KVM_REINJECT_CONTROL 0 ends this (QEMU: -global kvm-pit.lost_tick_policy=discard)"),
    SEV(false, false, "the VM is encrypted (SEV)", "nothing: KVM posts nothing to an encrypted VM"),
    LOGICAL_ID_ALIASED(
            false,
            true,
            "logical LAPIC ids are not unique, as with more than 8 vCPUs in the flat model; this is normal for a"
                    + " moment while a guest boots",
            "have the guest use x2APIC mode (QEMU: -cpu ...,+x2apic)"),
    PHYSICAL_ID_TOO_BIG(
            false,
            false,
            "a vCPU id exceeds the AVIC table, which holds ids up to 254, with x2AVIC 511, and with X2AVIC_EXT since Linux"
                    + " 6.18 4095; before Linux 6.17 KVM_CREATE_VCPU fails with EINVAL",
            "give the vCPUs lower ids");

    private final boolean intel;
    private final boolean clears;
    private final String cause;
    private final String remedy;

    InhibitReason(boolean intel, boolean clears, String cause, String remedy) {
        this.intel = intel;
        this.clears = clears;
        this.cause = cause;
        this.remedy = remedy;
    }

    /** Whether the vendor's KVM module uses this reason. kvm_amd uses every reason, kvm_intel only some. */
    public boolean counts(Vendor vendor) {
        Objects.requireNonNull(vendor, "vendor is null");
        return vendor == Vendor.AMD || intel;
    }

    /** The first Linux version with this reason, or 6.1 if the reason is older. */
    public LinuxVersion since() {
        return switch (this) {
            case PHYSICAL_ID_ALIASED, LOGICAL_ID_ALIASED -> new LinuxVersion(6, 3);
            case PHYSICAL_ID_TOO_BIG -> new LinuxVersion(6, 17);
            default -> new LinuxVersion(6, 1);
        };
    }

    /** Whether the reason can end before the VM is closed. */
    public boolean clears() {
        return clears;
    }

    /** The cause of the inhibit, as a clause. */
    public String cause() {
        return cause;
    }

    /** The {@link #cause} and the {@link #remedy}, separated by a semicolon. */
    public String causeAndRemedy() {
        return cause + "; " + remedy;
    }

    /** How to end or avoid the inhibit. Begins with "nothing" if there is no remedy. */
    public String remedy() {
        return remedy;
    }
}
