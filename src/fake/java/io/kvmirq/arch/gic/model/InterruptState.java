/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

/** The states that a {@link Distributor} stores as one bit for each interrupt. */
public enum InterruptState {
    /** The interrupt is enabled. SGIs are initially enabled. */
    ENABLED(0),
    /**
     * An edge, or a write to GICD_ISPENDR, has made the interrupt pending, and no list register has it yet. After such
     * a write, a level-triggered interrupt is pending until its EOI. For an SGI of a GICv2 the bit is read-only.
     */
    LATCH(1),
    /** The interrupt's line is high. Only a level-triggered interrupt is pending because its line is high. */
    LINE(2),
    /** When KVM last read or wrote the interrupt's list register, the guest had taken and not ended the interrupt. */
    ACTIVE(3),
    /** The interrupt is level-triggered. PPIs are level-triggered initially, SGIs never. */
    LEVEL(4),
    /** The interrupt is in group 1. In a GICv3 all interrupts are in group 1 initially. */
    GROUP1(5);

    private final int word;

    InterruptState(int word) {
        this.word = word;
    }

    /** The index in a bank. */
    int word() {
        return word;
    }
}
