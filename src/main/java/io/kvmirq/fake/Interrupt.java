/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

/**
 * An interrupt on its way to the LAPICs; source: {@code struct kvm_lapic_irq}, {@code kvm_set_msi_irq()} in
 * arch/x86/kvm/irq.c.
 *
 * @param shortId bits 7:0 of the destination
 * @param high {@code address_hi} of a message: bits 31:8 are the destination's where APIC ids are long
 * @param toOne to one of those it is for, whatever the mode
 */
record Interrupt(int shortId, int high, boolean logical, boolean toOne, int mode, int vector, boolean level) {
    static final int BROADCAST = 0xff;

    static Interrupt ofMessage(int low, int high, int data) {
        return new Interrupt(
                low >>> 12 & 0xff,
                high,
                (low >>> 2 & 1) == 1,
                (low >>> 3 & 1) == 1,
                data >>> 8 & 7,
                data & 0xff,
                (data >>> 15 & 1) == 1);
    }

    /** A redirection entry of the IOAPIC. */
    static Interrupt ofPin(long entry) {
        return new Interrupt(
                (int) (entry >>> 56),
                0,
                (entry >>> 11 & 1) == 1,
                false,
                (int) (entry >>> 8 & 7),
                (int) entry & 0xff,
                (entry >>> 15 & 1) == 1);
    }

    int destination(boolean longApicIds) {
        return longApicIds ? shortId | high & ~0xff : shortId;
    }

    /** Whether a message has bits where long APIC ids have none, as one from before they were long may. */
    boolean isInvalid(boolean longApicIds) {
        return longApicIds && (high & 0xff) != 0;
    }

    /** Whether one of several takes it. */
    boolean byPriority(boolean broadcast) {
        return toOne || mode == FakeLapic.LOWEST_PRIORITY && !broadcast;
    }

    /** As priority has no meaning among everybody, the kernel makes the interrupt a fixed one. */
    int effectiveMode(boolean broadcast) {
        return broadcast && (toOne || mode == FakeLapic.LOWEST_PRIORITY) ? FakeLapic.FIXED : mode;
    }
}
