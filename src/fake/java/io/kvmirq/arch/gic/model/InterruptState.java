/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

/** The states that a {@link Distributor} stores as one bit for each interrupt. */
public enum InterruptState {
    /** The interrupt is enabled. SGIs are initially enabled. */
    ENABLED(0),
    /**
     * The interrupt has an edge, or a write to GICD_ISPENDR, that is not queued yet. A write latches a level until the
     * interrupt ends. For SGIs of a GICv2 the bits follow from their sources and cannot be written.
     */
    LATCH(1),
    /** The line is high. Only level-triggered interrupts are pending while their line is high. */
    LINE(2),
    /** The guest had taken and not ended the interrupt at the last exit, or at the last write of its list register. */
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
