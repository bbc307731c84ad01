/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/**
 * The outcome of {@link Vm#signal}. Source: {@code kvm_send_userspace_msi()} in virt/kvm/irqchip.c, {@code
 * kvm_irq_delivery_to_apic()} in arch/x86/kvm/.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="signal"}
 *
 * @param vcpus the number of vCPUs whose LAPICs accepted the MSI, including LAPICs in which the vector was pending,
 *     because KVM does not report merged interrupts. {@link #NOT_ACCEPTED} has 0, {@link #NO_DESTINATION_MATCHED} -1
 */
public record MsiOutcome(int vcpus) {
    /** No vCPU accepted the MSI: none has the destination's APIC id, or its LAPIC is software-disabled. */
    public static final MsiOutcome NOT_ACCEPTED = new MsiOutcome(0);
    /**
     * KVM returned -1, which is also -EPERM: the VM has no vCPU, or none matched a broadcast, or none matched a
     * lowest-priority message whose vector selects the vCPU. {@link Vm#signal} throws EPERM if it came from a system
     * call filter.
     */
    public static final MsiOutcome NO_DESTINATION_MATCHED = new MsiOutcome(-1);

    private static final MsiOutcome TO_ONE = new MsiOutcome(1);

    /** The outcome for a number of vCPUs. The frequent case of one vCPU allocates nothing. */
    static MsiOutcome delivered(int vcpus) {
        return vcpus == 1 ? TO_ONE : new MsiOutcome(vcpus);
    }
}
