/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.util.BitSet;

/**
 * The vectors whose end the IOAPIC hears of from one LAPIC, as of the last scan of its pins; source:
 * {@code kvm_scan_ioapic_irq()} in arch/x86/kvm/irq.c.
 */
final class HeardEnds {
    private final BitSet vectors = new BitSet();
    /** The highest that is pending but of no pin that is for this LAPIC; -1 for none. */
    private int stale = -1;

    private boolean scanWanted;
    private int toTell = -1;

    /** The VMM has the IOAPIC: the guest leaves to tell it. */
    void tellVmm(int vector) {
        toTell = vector;
    }

    /** @return the vector whose end the VMM is to hear of, once; -1 for none */
    int takeTold() {
        int vector = toTell;
        toTell = -1;
        return vector;
    }

    void wantScan() {
        scanWanted = true;
    }

    /** @return whether a scan is due, which starts from nothing */
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

    /** An interrupt that a pin sends is heard of if it is for this LAPIC, or while it is pending here. */
    void add(int vector, boolean isForThis, boolean pending) {
        if (isForThis || pending) {
            vectors.set(vector);
        }
        if (!isForThis && pending) {
            stale = Math.max(stale, vector);
        }
    }

    /** After a stale one the pins are looked at again. */
    boolean hears(int vector) {
        boolean heard = vectors.get(vector);
        scanWanted |= heard && stale == vector;
        return heard;
    }
}
