/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/**
 * An ARM GIC shared peripheral interrupt (SPI). A route to pin p of the VGIC raises SPI p + 32.
 *
 * <p>Source: GIC architecture (IHI 0069), 2.2.1; {@code VGIC_NR_PRIVATE_IRQS} in include/kvm/arm_vgic.h.
 *
 * @param number the INTID, {@value #FIRST}–{@value #LAST}; a VGIC has only the SPIs below {@code Vgic.interrupts}
 */
public record Spi(int number) {
    /** The lowest SPI; lower INTIDs are private to each vCPU. */
    public static final int FIRST = 32;
    /** The architecture's highest SPI. */
    public static final int LAST = 1019;

    public Spi {
        if (number < FIRST || number > LAST) {
            throw new IllegalArgumentException(
                    "SPI " + number + " is out of range: expected " + FIRST + "-" + LAST + ", its INTID");
        }
    }

    /** The VGIC pin that raises this SPI. */
    public int pin() {
        return number - FIRST;
    }

    @Override
    public String toString() {
        return "spi " + number;
    }
}
