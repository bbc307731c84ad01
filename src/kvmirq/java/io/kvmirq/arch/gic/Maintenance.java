/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import static io.kvmirq.arch.Description.saying;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Meaning;

/**
 * Fields of the read-only registers MISR, EISR and ELRSR, which show why the maintenance interrupt is asserted, which
 * list registers' interrupts have ended, and which list registers are empty. MISR has the same bits in GICv2 and GICv3.
 * EISR and ELRSR have one bit per list register: 64 bits in GICv2, 16 bits in GICv3.
 *
 * <p>Source: ARM IHI 0048, "GICH_MISR", "GICH_EISR0", "GICH_ELRSR0"; ARM IHI 0069, "ICH_MISR_EL2", "ICH_EISR_EL2".
 */
public final class Maintenance {
    /** EOI: 1 while EISR is not 0. */
    public static final BitField END = cause("eoi", 0, "EOI", "an interrupt with EOI was ended: see EISR");

    /** U: 1 while at most one list register holds an interrupt and HCR.UIE is set. */
    public static final BitField UNDERFLOW =
            cause("u", 1, "U", "underflow: at most one list register holds an interrupt");

    /** The {@code kvmirq decode} format {@code gic.misr}. */
    public static final Format STATUS = Format.builder(
                    "gic.misr", "GICv2 maintenance interrupt status, GICH_MISR", 32, 1)
            .fields(causes())
            .fields(BitField.reserved("rsvd_8_31", 8, 24).ordinarily(0))
            .build();

    /** The {@code kvmirq decode} format {@code gic.ich_misr}. */
    public static final Format ICH_STATUS = Format.builder(
                    "gic.ich_misr", "GICv3 maintenance interrupt status, ICH_MISR", 64, 1)
            .fields(causes())
            .fields(BitField.reserved("rsvd_8_63", 8, 56).ordinarily(0))
            .build();

    private static final BitField UPPER =
            BitField.reserved("rsvd_16_63", 16, 48).ordinarily(0);

    /** The {@code kvmirq decode} format {@code gic.eisr}, where bit n is set if list register n's interrupt ended. */
    public static final Format ENDED = Format.builder("gic.eisr", "GIC ended list registers, EISR1:0", 64, 1)
            .fields(registers("eisr", "EISR", "ended, EOI requested", Long.SIZE))
            .build();

    /** The {@code kvmirq decode} format {@code gic.ich_eisr}, with bit n set if list register n's interrupt ended. */
    public static final Format ICH_ENDED = Format.builder("gic.ich_eisr", "GICv3 ended list registers, ICH_EISR", 64, 1)
            .fields(registers("eisr", "EISR", "ended, EOI requested", Short.SIZE), UPPER)
            .build();

    /** The {@code kvmirq decode} format {@code gic.elrsr}, where bit n is set if list register n is empty. */
    public static final Format EMPTY = Format.builder("gic.elrsr", "GIC empty list registers, ELRSR1:0", 64, 1)
            .fields(registers("elrsr", "ELRSR", "empty", Long.SIZE))
            .build();

    /** The {@code kvmirq decode} format {@code gic.ich_elrsr}, where bit n is set if list register n is empty. */
    public static final Format ICH_EMPTY = Format.builder(
                    "gic.ich_elrsr", "GICv3 empty list registers, ICH_ELRSR", 64, 1)
            .fields(registers("elrsr", "ELRSR", "empty", Short.SIZE), UPPER)
            .build();

    private Maintenance() {}

    private static BitField[] causes() {
        return new BitField[] {
            END,
            UNDERFLOW,
            cause("lrenp", 2, "LRENP", "EOICount is not 0"),
            cause("np", 3, "NP", "no list register is pending"),
            cause("vgrp0e", 4, "VGrp0E", "the guest enabled group 0"),
            cause("vgrp0d", 5, "VGrp0D", "the guest disabled group 0"),
            cause("vgrp1e", 6, "VGrp1E", "the guest enabled group 1"),
            cause("vgrp1d", 7, "VGrp1D", "the guest disabled group 1")
        };
    }

    private static BitField cause(String name, int bit, String label, String why) {
        return BitField.flag(name, bit, label, "no", why);
    }

    private static BitField registers(String name, String label, String what, int count) {
        return new BitField(name, 0, count, saying(label, (value, bits) -> switch (Long.bitCount(value)) {
            case 0 -> "none";
            case 1 -> "list register " + Meaning.decimals(value) + " " + what;
            default -> "list registers " + Meaning.decimals(value) + " " + what;
        }));
    }
}
