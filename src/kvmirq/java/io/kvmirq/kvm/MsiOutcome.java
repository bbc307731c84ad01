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

    /** LAPICs of {@code vcpus}, at least 1, took it, also if the vector was pending: KVM reports no coalescing here. */
    record Delivered(int vcpus) implements MsiOutcome {
        private static final Delivered TO_ONE = new Delivered(1);
    }

    /** No vCPU took it: none has that APIC id, or its LAPIC is disabled by software. */
    record NotAccepted() implements MsiOutcome {}

    /**
     * KVM said EPERM, its -1 for no destination: the VM has no vCPU yet, or a broadcast or hashed destination matched
     * none. The EPERM of a system call filter is a {@link io.kvmirq.KernelException}.
     */
    record NoDestinationMatched() implements MsiOutcome {}

    /** To one vCPU, by far the most frequent, without allocating. */
    static MsiOutcome delivered(int vcpus) {
        return vcpus == 1 ? Delivered.TO_ONE : new Delivered(vcpus);
    }
}
