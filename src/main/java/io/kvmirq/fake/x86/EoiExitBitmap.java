/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import java.util.BitSet;

/**
 * Vectors whose EOI this LAPIC forwards to the IOAPIC, as of the last scan of the IOAPIC's pins. Source: {@code
 * ioapic_handled_vectors}, {@code kvm_scan_ioapic_irq()} in arch/x86/kvm/irq.c.
 */
final class EoiExitBitmap {
    private final BitSet vectors = new BitSet();
    /** The highest vector that is pending here although its pin is for another LAPIC; -1 for none. */
    private int stale = -1;

    private boolean scanWanted;
    private int exit = -1;

    /** With the split irqchip, the guest leaves with KVM_EXIT_IOAPIC_EOI. */
    void requestEoiExit(int vector) {
        exit = vector;
    }

    /** @return the vector of the KVM_EXIT_IOAPIC_EOI that is due, once; -1 for none */
    int takeEoiExit() {
        int vector = exit;
        exit = -1;
        return vector;
    }

    void wantScan() {
        scanWanted = true;
    }

    /** @return whether a scan is due; if so the bitmap is empty now */
    boolean beginScan() {
        boolean due = scanWanted;
        scanWanted = false;
        if (due) {
            stale = -1;
            vectors.clear();
        }
        return due;
    }

    void add(int vector) {
        vectors.set(vector);
    }

    /** Adds a pin's vector if the pin is for this LAPIC, or while the vector is pending here. */
    void add(int vector, boolean isForThis, boolean pending) {
        if (isForThis || pending) {
            vectors.set(vector);
        }
        if (!isForThis && pending) {
            stale = Math.max(stale, vector);
        }
    }

    /** The EOI of a stale vector asks for another scan. */
    boolean contains(int vector) {
        boolean contained = vectors.get(vector);
        scanWanted |= contained && stale == vector;
        return contained;
    }
}
