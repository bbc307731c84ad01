/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic.model;

import io.kvmirq.arch.apic.InhibitReason;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/**
 * The VM settings that decide whether KVM posts interrupts.
 *
 * @param lapicsInKernel whether the VM has an in-kernel irqchip, full or split
 * @param apicIds32Bit whether the VM uses 32-bit APIC ids (KVM_X2APIC_API_USE_32BIT_IDS)
 * @param inhibits the reasons that inhibit APIC virtualization now, for the VM or for the destination vCPU
 */
public record PostingVm(
        boolean lapicsInKernel,
        boolean apicIds32Bit,
        Destinations<? extends LocalApic> destinations,
        Set<InhibitReason> inhibits) {
    public PostingVm {
        inhibits = inhibits.isEmpty() ? Set.of() : Set.copyOf(EnumSet.copyOf(inhibits));
    }

    /**
     * A VM with the defaults of Linux and KVM, where nothing is inhibited, and vector hashing and the broadcast quirk
     * are on. {@code lapics} must be sorted by vCPU index.
     */
    public static PostingVm of(List<? extends LocalApic> lapics, boolean apicIds32Bit) {
        return new PostingVm(
                true, apicIds32Bit, new Destinations<>(List.copyOf(lapics), apicIds32Bit, true, true), Set.of());
    }

    public PostingVm withDestinations(Destinations<? extends LocalApic> other) {
        return new PostingVm(lapicsInKernel, apicIds32Bit, other, inhibits);
    }

    public PostingVm withInhibits(Set<InhibitReason> reasons) {
        return new PostingVm(lapicsInKernel, apicIds32Bit, destinations, reasons);
    }
}
