/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import io.kvmirq.Ppi;
import io.kvmirq.Spi;

/** Interrupt numbers (INTIDs) and their ranges. Source: GIC architecture specification, "INTIDs". */
public final class InterruptId {
    /** The first PPI. Lower ids are SGIs. */
    public static final int FIRST_PPI = Ppi.FIRST;

    /** The first SPI. Lower ids are SGIs and PPIs, which are private to a CPU. */
    public static final int FIRST_SPI = Spi.FIRST;

    /** The first special INTID, one above the last SPI. No interrupt has it. */
    public static final int FIRST_SPECIAL = Spi.LAST + 1;

    /** The first LPI's INTID. From 1020 to 8191, only the EPPIs and ESPIs of GICv3.1 are interrupts. */
    public static final int FIRST_LPI = 8192;

    private static final int FIRST_EPPI = 1056;
    private static final int LAST_EPPI = 1119;
    private static final int FIRST_ESPI = 4096;
    private static final int LAST_ESPI = 5119;

    private InterruptId() {}

    /** Whether the id is an SGI. */
    public static boolean isSgi(long id) {
        return Long.compareUnsigned(id, FIRST_PPI) < 0;
    }

    /** Whether the id is an SGI or a PPI below 1020, which are private to each CPU. */
    public static boolean isPrivate(long id) {
        return Long.compareUnsigned(id, FIRST_SPI) < 0;
    }

    /** Whether the id is special or reserved, so no interrupt has it. */
    public static boolean isNone(long id) {
        return Long.compareUnsigned(id, FIRST_SPECIAL) >= 0
                && Long.compareUnsigned(id, FIRST_LPI) < 0
                && !isExtendedPpi(id)
                && !isExtendedSpi(id);
    }

    private static boolean isExtendedPpi(long id) {
        return id >= FIRST_EPPI && id <= LAST_EPPI;
    }

    private static boolean isExtendedSpi(long id) {
        return id >= FIRST_ESPI && id <= LAST_ESPI;
    }

    /** An interrupt's kind and number, such as {@code SPI 32}. */
    public static String text(long id) {
        String extended = isExtendedPpi(id) || isExtendedSpi(id) ? "E" : "";
        String kind = isSgi(id)
                ? "SGI"
                : isPrivate(id) || isExtendedPpi(id)
                        ? "PPI"
                        : isNone(id) ? "no interrupt" : Long.compareUnsigned(id, FIRST_LPI) < 0 ? "SPI" : "LPI";
        return extended + kind + " " + Long.toUnsignedString(id);
    }
}
