/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import java.util.Optional;

/**
 * KVM's last write of an x86 remapping entry. Later events do not change it, because KVM writes an entry only when it
 * connects or disconnects irqfd and producer, and when the route's message changes. KVM_CREATE_VCPU, a write of LDR,
 * KVM_CAP_X2APIC_API and a change of the IOMMU domain do not write an entry. Source: {@code
 * kvm_arch_irq_bypass_add_producer()} and {@code kvm_arch_update_irqfd_routing()} in arch/x86/kvm/irq.c, {@code
 * kvm_irq_routing_update()} in virt/kvm/eventfd.c.
 *
 * @param moment the event that caused the write
 * @param decision the destination as KVM resolved it then
 * @param listed AMD: whether the entry is on its vCPU's list, so that it follows AVIC's inhibits. Up to Linux 6.16, an
 *     entry that is written while AVIC is off for its vCPU is not on any list. Empty if not known
 * @param facts {@link State#facts} at the write. While it stays the same, the next write has the same result
 */
record Written(EntryUpdate.Moment moment, Decision decision, Optional<Boolean> listed, long facts) {
    /**
     * A message's destination, as KVM resolved it.
     *
     * @param target the vCPU and the vector, empty if KVM posts the message to no vCPU, or it is not known
     * @param note a limit of the target, in one sentence
     * @param refusal the reason if there is no target
     * @param remaps whether the host remaps interrupts, so that there is an entry
     */
    record Decision(Optional<Posting.ToVcpu> target, Optional<String> note, Optional<Posting> refusal, boolean remaps) {
        static Decision of(Posting refusal, boolean remaps) {
            return new Decision(Optional.empty(), Optional.empty(), Optional.of(refusal), remaps);
        }
    }
}
