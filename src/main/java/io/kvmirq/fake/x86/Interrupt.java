/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.DeliveryMode;
import io.kvmirq.arch.apic.IoapicEntry;
import io.kvmirq.fake.kvm.Message;

/**
 * An interrupt on its way to the LAPICs; source: {@code struct kvm_lapic_irq}, {@code kvm_set_msi_irq()} in
 * arch/x86/kvm/irq.c.
 *
 * @param destination32 the destination where APIC ids have 32 bits; its low 8 bits are the destination elsewhere
 * @param reserved whether a message has bits where 32-bit APIC ids have none
 * @param redirectionHint one LAPIC of the destination takes it, whatever the mode
 */
record Interrupt(
        int destination32,
        boolean reserved,
        boolean logical,
        boolean redirectionHint,
        DeliveryMode mode,
        int vector,
        boolean level)
        implements Message {
    static final int BROADCAST = 0xff;

    static Interrupt ofMessage(int low, int high, int data) {
        CompatibilityMsi message =
                new CompatibilityMsi((long) high << Integer.SIZE | Integer.toUnsignedLong(low), data);
        return new Interrupt(
                (int) message.destination(),
                CompatibilityMsi.RESERVED_32.isSet(message.address()),
                CompatibilityMsi.LOGICAL.isSet(message.address()),
                CompatibilityMsi.HINT.isSet(message.address()),
                message.mode(),
                message.vector().number(),
                CompatibilityMsi.LEVEL.isSet(data));
    }

    /** A redirection entry of the IOAPIC. */
    static Interrupt ofPin(long entry) {
        return new Interrupt(
                (int) IoapicEntry.DESTINATION.of(entry),
                false,
                IoapicEntry.LOGICAL.isSet(entry),
                false,
                DeliveryMode.of((int) IoapicEntry.MODE.of(entry)),
                (int) IoapicEntry.VECTOR.of(entry),
                IoapicEntry.LEVEL.isSet(entry));
    }

    int destination(boolean apicIds32Bit) {
        return apicIds32Bit ? destination32 : destination32 & BROADCAST;
    }

    /** Whether a message has bits where 32-bit APIC ids have none, as one from before they were 32 bits wide may. */
    boolean isInvalid(boolean apicIds32Bit) {
        return apicIds32Bit && reserved;
    }

    /** Whether one of several takes it. */
    boolean byPriority(boolean broadcast) {
        return redirectionHint || mode == DeliveryMode.LOWEST_PRIORITY && !broadcast;
    }

    /** As priority has no meaning among all LAPICs, the kernel makes the interrupt a fixed one. */
    DeliveryMode effectiveMode(boolean broadcast) {
        return broadcast && (redirectionHint || mode == DeliveryMode.LOWEST_PRIORITY) ? DeliveryMode.FIXED : mode;
    }
}
