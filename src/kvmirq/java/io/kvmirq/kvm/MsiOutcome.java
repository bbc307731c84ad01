/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/**
 * The outcome of an MSI. Source: {@code kvm_send_userspace_msi()} in virt/kvm/irqchip.c,
 * {@code kvm_irq_delivery_to_apic()} in arch/x86/kvm/.
 */
public sealed interface MsiOutcome {
    /** No vCPU took it. */
    MsiOutcome NOT_ACCEPTED = new NotAccepted();
    /** No destination matched. */
    MsiOutcome NO_DESTINATION_MATCHED = new NoDestinationMatched();

    /**
     * The LAPICs of {@code vcpus} vCPUs, at least 1, accepted it. A vector that was pending counts too: KVM reports no
     * coalescing here.
     */
    record Delivered(int vcpus) implements MsiOutcome {
        private static final Delivered TO_ONE = new Delivered(1);
    }

    /** No vCPU accepted it: no vCPU has that APIC id, or its LAPIC is disabled by software. */
    record NotAccepted() implements MsiOutcome {}

    /**
     * KVM returned -1 (EPERM) for no destination: the VM has no vCPU yet, or a broadcast or hashed destination matched
     * none. The EPERM of a system call filter is a {@link io.kvmirq.KernelException}.
     */
    record NoDestinationMatched() implements MsiOutcome {}

    /** The outcome for a number of vCPUs. The frequent case of one vCPU allocates nothing. */
    static MsiOutcome delivered(int vcpus) {
        return vcpus == 1 ? Delivered.TO_ONE : new Delivered(vcpus);
    }
}
