/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import java.util.Objects;

/**
 * The list register of an interrupt that KVM injects on arm64: its INTID (SPI 32–1019, or an LPI) and its EOI's effect.
 */
public record PredictedListRegister(int intid, Eoi eoi) {
    public PredictedListRegister {
        Objects.requireNonNull(eoi, "eoi is null");
    }

    /** The EOI's effect outside the guest. */
    public enum Eoi {
        /** The EOI has no effect outside the guest. */
        NONE,
        /** The EOI deactivates a physical interrupt (LR.HW). */
        PHYSICAL,
        /** The EOI raises a maintenance interrupt (LR.EOI). */
        MAINTENANCE
    }
}
