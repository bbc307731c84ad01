/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import java.util.BitSet;

/**
 * Vectors whose EOI this LAPIC forwards to the IOAPIC, as of the last scan of the IOAPIC's pins. Source: {@code
 * ioapic_handled_vectors}, {@code kvm_scan_ioapic_irq()} in arch/x86/kvm/irq.c.
 */
final class EoiExitBitmap {
    private final BitSet vectors = new BitSet();
    /** The VMCS's copy: the vectors whose EOI the processor tells KVM, while it virtualizes the LAPIC. */
    private final BitSet loaded = new BitSet();
    /** The highest vector that is pending in this LAPIC while its pin now addresses another LAPIC; -1 for none. */
    private int stale = -1;

    private boolean scanWanted;
    private int exit = -1;

    /** Makes the guest exit with KVM_EXIT_IOAPIC_EOI (split irqchip). */
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

    /** @return whether a scan is due; if so, the bitmap has been cleared */
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

    /** Adds a pin's vector if the pin addresses this LAPIC or the vector is pending in it. */
    void add(int vector, boolean isForThis, boolean pending) {
        if (isForThis || pending) {
            vectors.set(vector);
        }
        if (!isForThis && pending) {
            stale = Math.max(stale, vector);
        }
    }

    /** Loads the VMCS: {@code vmx_load_eoi_exitmap()}, which leaves it alone while APICv is off. */
    void load() {
        loaded.clear();
        loaded.or(vectors);
    }

    /** Whether the VMCS lacks a vector of the last scan, so that KVM is not told of its EOI. */
    boolean isMissed(int vector) {
        return vectors.get(vector) && !loaded.get(vector);
    }

    /** Whether an EOI of the vector is forwarded. The EOI of a stale vector requests another scan. */
    boolean contains(int vector) {
        boolean contained = vectors.get(vector);
        scanWanted |= contained && stale == vector;
        return contained;
    }
}
