/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/**
 * The outcome of {@link Vm#signal}. Source: {@code kvm_send_userspace_msi()} in virt/kvm/irqchip.c, {@code
 * kvm_irq_delivery_to_apic()} in arch/x86/kvm/.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="signal"}
 *
 * @param vcpus the number of vCPUs whose LAPICs accepted the MSI, including LAPICs in which the vector was already
 *     pending, because KVM does not report merged MSIs; 0 is {@link #NOT_ACCEPTED}, -1 {@link #NO_DESTINATION_MATCHED}
 */
public record MsiOutcome(int vcpus) {
    /** No vCPU accepted the MSI, for example because none has this APIC id, or its LAPIC is software-disabled. */
    public static final MsiOutcome NOT_ACCEPTED = new MsiOutcome(0);
    /**
     * KVM returned -1 (the value of -EPERM) because the VM has no vCPU, or because no vCPU matched a broadcast or a
     * lowest-priority message whose vector selects the vCPU. If the -1 came from a system call filter, {@link
     * Vm#signal} throws EPERM instead.
     */
    public static final MsiOutcome NO_DESTINATION_MATCHED = new MsiOutcome(-1);

    private static final MsiOutcome TO_ONE = new MsiOutcome(1);

    /** The outcome for a number of vCPUs. Does not allocate for one vCPU, the usual case. */
    static MsiOutcome delivered(int vcpus) {
        return vcpus == 1 ? TO_ONE : new MsiOutcome(vcpus);
    }
}
