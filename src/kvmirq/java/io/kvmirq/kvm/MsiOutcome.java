/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/**
 * The outcome of an MSI. Source: {@code kvm_send_userspace_msi()} in virt/kvm/irqchip.c,
 * {@code kvm_irq_delivery_to_apic()} in arch/x86/kvm/.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="signal"}
 *
 * @param vcpus the number of vCPUs whose LAPICs accepted the MSI, also if the vector was pending: KVM reports no
 *     coalescing. 0 for {@link #NOT_ACCEPTED}, -1 for {@link #NO_DESTINATION_MATCHED}
 */
public record MsiOutcome(int vcpus) {
    /** No vCPU accepted the MSI: no vCPU has that APIC id, or its LAPIC is disabled by software. */
    public static final MsiOutcome NOT_ACCEPTED = new MsiOutcome(0);
    /**
     * KVM returned -1, as for EPERM, because no vCPU matched: the VM has none yet, or a broadcast or a lowest-priority
     * message with vector hashing found none. A system call filter's EPERM is a {@link io.kvmirq.KernelException}.
     */
    public static final MsiOutcome NO_DESTINATION_MATCHED = new MsiOutcome(-1);

    private static final MsiOutcome TO_ONE = new MsiOutcome(1);

    /** The outcome for a number of vCPUs. The frequent case of one vCPU allocates nothing. */
    static MsiOutcome delivered(int vcpus) {
        return vcpus == 1 ? TO_ONE : new MsiOutcome(vcpus);
    }
}
