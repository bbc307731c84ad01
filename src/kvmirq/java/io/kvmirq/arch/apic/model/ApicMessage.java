/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic.model;

import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.DeliveryMode;
import io.kvmirq.arch.apic.IoapicEntry;

/**
 * An interrupt sent to LAPICs, decoded from a message or an IOAPIC pin.
 *
 * <p>Source: {@code struct kvm_lapic_irq}, {@code kvm_msi_to_lapic_irq()} in arch/x86/kvm/irq.c.
 *
 * @param destination32 the 32-bit destination, of which only the low 8 bits count unless the VM uses 32-bit APIC ids
 * @param reserved whether the message sets address bits that must be 0 with 32-bit APIC ids
 * @param redirectionHint whether one LAPIC of a logical destination gets the interrupt even in fixed delivery mode
 * @param vector 0–255
 * @param level whether the interrupt is level-triggered
 */
public record ApicMessage(
        int destination32,
        boolean reserved,
        boolean logical,
        boolean redirectionHint,
        DeliveryMode mode,
        int vector,
        boolean level) {
    /** The destination that means every LAPIC in xAPIC mode. */
    public static final int BROADCAST = 0xff;

    /** The destination that means every LAPIC in x2APIC mode. */
    public static final int X2APIC_BROADCAST = -1;

    public static ApicMessage of(CompatibilityMsi message) {
        return new ApicMessage(
                (int) message.destination(),
                CompatibilityMsi.RESERVED_32.isSet(message.address()),
                CompatibilityMsi.LOGICAL.isSet(message.address()),
                CompatibilityMsi.HINT.isSet(message.address()),
                message.mode(),
                message.vector().number(),
                CompatibilityMsi.LEVEL.isSet(message.data()));
    }

    /** The interrupt that an IOAPIC redirection entry in {@link IoapicEntry} format sends. */
    public static ApicMessage ofPin(long entry) {
        return new ApicMessage(
                (int) IoapicEntry.DESTINATION.of(entry),
                false,
                IoapicEntry.LOGICAL.isSet(entry),
                false,
                DeliveryMode.of((int) IoapicEntry.MODE.of(entry)),
                (int) IoapicEntry.VECTOR.of(entry),
                IoapicEntry.LEVEL.isSet(entry));
    }

    /** The destination: 32 bits if the VM uses 32-bit APIC ids, else the low 8 bits. */
    public int destination(boolean apicIds32Bit) {
        return apicIds32Bit ? destination32 : destination32 & BROADCAST;
    }

    /** Whether KVM rejects the message because address bits [39:32] are not 0, as 32-bit APIC ids require. */
    public boolean isInvalid(boolean apicIds32Bit) {
        return apicIds32Bit && reserved;
    }

    /** Whether only one of several LAPICs gets the interrupt ({@code kvm_lowest_prio_delivery}). */
    public boolean isLowestPriority() {
        return redirectionHint || mode == DeliveryMode.LOWEST_PRIORITY;
    }
}
