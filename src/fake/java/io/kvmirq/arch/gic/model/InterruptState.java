/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

/** The states of which a {@link Distributor} keeps one bit for each interrupt. */
public enum InterruptState {
    /** The interrupt is enabled. SGIs are from the start. */
    ENABLED(0),
    /**
     * An edge, or a write to GICD_ISPENDR, that is not queued yet. A write latches a level until the interrupt ends. Of
     * a GICv2 the bits of SGIs follow from their sources and cannot be written.
     */
    LATCH(1),
    /** The line is high. It counts only if the interrupt is level-triggered. */
    LINE(2),
    /** The guest has taken the interrupt and not ended it, as of the last exit or write of its list register. */
    ACTIVE(3),
    /** The interrupt is level-triggered. PPIs are from the start. SGIs are edge-triggered for ever. */
    LEVEL(4),
    /** The interrupt is in group 1. With a GICv3 all are from the start. */
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
