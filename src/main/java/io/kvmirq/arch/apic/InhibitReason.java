/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

/**
 * A reason for which KVM inhibits APIC virtualization in a VM. {@link #ordinal} is the bit, and the {@code reason=} of
 * the tracepoint kvm_apicv_inhibit_changed.
 *
 * <p>Source: {@code enum kvm_apicv_inhibit} in arch/x86/include/asm/kvm_host.h of Linux 7.1.
 */
public enum InhibitReason {
    /** Module parameter or hardware. */
    DISABLED(true, false, "a module parameter or the hardware switches APIC virtualization off"),
    /** AutoEOI. */
    HYPERV(true, true, "the guest uses AutoEOI of a SynIC; offer it the hint \"deprecating AutoEOI\" (QEMU: hv-apicv)"),
    /** No irqchip. */
    ABSENT(true, true, "the VM has no irqchip yet; KVM_CREATE_IRQCHIP or KVM_CAP_SPLIT_IRQCHIP ends this"),
    /** Debugging. */
    BLOCKIRQ(true, true, "a debugger blocks interrupts (KVM_GUESTDBG_BLOCKIRQ); end the single step"),
    /** Two LAPICs with one id. */
    PHYSICAL_ID_ALIASED(true, true, "two enabled LAPICs have one physical id; set KVM_X2APIC_API_USE_32BIT_IDS"),
    /** A changed id. */
    APIC_ID_MODIFIED(true, true, "the guest changed a LAPIC's id in xAPIC mode"),
    /** A moved page. */
    APIC_BASE_MODIFIED(true, false, "the guest moved a LAPIC away from 0xfee00000; only a new VM ends this"),
    /** A nested guest; of one vCPU, never of a VM. */
    NESTED(false, true, "the vCPU runs a nested guest"),
    /** An interrupt window. */
    IRQWIN(false, true, "KVM waits to inject an interrupt of the PIC"),
    /** The PIT's reinjection. */
    PIT_REINJ(
            false,
            true,
            "the PIT reinjects lost ticks; KVM_REINJECT_CONTROL 0 ends this (QEMU: -global"
                    + " kvm-pit.lost_tick_policy=discard)"),
    /** Encryption. */
    SEV(false, false, "the VM is encrypted (SEV)"),
    /** Ambiguous logical ids. */
    LOGICAL_ID_ALIASED(false, true, "logical ids of LAPICs are not unique; usual for a moment while a guest boots"),
    /** A large id. */
    PHYSICAL_ID_TOO_BIG(false, false, "a vCPU id is above what the AVIC table holds (254, 511 or 4095)");

    private final boolean intel;
    private final boolean clears;
    private final String cause;

    InhibitReason(boolean intel, boolean clears, String cause) {
        this.intel = intel;
        this.clears = clears;
        this.cause = cause;
    }

    /** Whether the vendor's KVM module knows the reason. AMD's knows all. */
    public boolean counts(Vendor vendor) {
        return vendor == Vendor.AMD || intel;
    }

    /** Whether the reason can end while the VM lives. */
    public boolean clears() {
        return clears;
    }

    /** The event that makes the reason, and the one that ends it. */
    public String cause() {
        return cause;
    }
}
