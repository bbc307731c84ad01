/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import static io.kvmirq.arch.Description.always;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.SplitField;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;

/**
 * A remapping entry that posts a device interrupt to a descriptor. {@code low} is bits 63:0 and {@code high} bits
 * 127:64.
 *
 * <p>Source: VT-d specification, Interrupt Remapping Table Entry for Posted Interrupts; the {@code p_} fields of {@code
 * struct irte} in include/linux/dmar.h.
 */
public record PostedIrte(long low, long high) implements Irte {
    /** URG, bit 14: 1 if the interrupt sends a notification even while the descriptor suppresses notifications. */
    public static final BitField URGENT =
            BitField.flag("urgent", 14, "URG", "heeds SN", "urgent: notifies whatever SN is");

    /** PDAL, bits 63:38: bits 31:6 of the descriptor's address. */
    public static final BitField ADDRESS_LOW = new BitField("pda_l", 38, 26, always("PDAL", "descriptor address 31:6"));

    /** The shift of address bits 31:6 in the low word. The high word holds bits 63:32 in place. */
    static final int ADDRESS_LOW_SHIFT = ADDRESS_LOW.low() - PostedInterruptDescriptor.BOUNDARY_BITS;

    /** PDAH, bits 127:96: bits 63:32 of the descriptor's address. */
    public static final BitField ADDRESS_HIGH =
            new BitField("pda_h", 96, 32, always("PDAH", "descriptor address 63:32"));

    /** The descriptor's address. */
    public static final SplitField ADDRESS = new SplitField(
            "derived_pda",
            ADDRESS_LOW,
            ADDRESS_HIGH,
            always("PDA", "descriptor address")
                    .shifted(PostedInterruptDescriptor.BOUNDARY_BITS)
                    .derived());

    /** The {@code kvmirq decode} format {@code irte.vtd.posted}. */
    public static final Format FORMAT = Irte.format(
                    "irte.vtd.posted",
                    "VT-d IRTE, posted form",
                    PRESENT,
                    FAULT_DISABLED,
                    BitField.reserved("rsvd_2_7", 2, 6),
                    AVAILABLE,
                    BitField.reserved("rsvd_12_13", 12, 2),
                    URGENT,
                    POSTED,
                    VECTOR,
                    BitField.reserved("rsvd_24_37", 24, 14),
                    ADDRESS_LOW)
            .fields(BitField.reserved("rsvd_84_95", 84, 12), ADDRESS_HIGH, ADDRESS)
            .remark(
                    bits -> PRESENT.isSet(bits[0]) && Irte.descriptorAddress(bits[0], bits[1]) == 0,
                    "the descriptor's address is 0")
            .build();

    /**
     * Bits 63:0 of a present entry that posts to a descriptor at a 64-byte boundary. Throws IllegalArgumentException
     * unless the vector is 0–255.
     */
    public static long lowWord(long descriptorAddress, int guestVector) {
        return PRESENT.mask()
                | POSTED.mask()
                | VECTOR.with(guestVector)
                | descriptorAddress << ADDRESS_LOW_SHIFT & ADDRESS_LOW.mask();
    }

    /**
     * Bits 127:64 of an entry that posts, with SID (16 bits), SQ and SVT (2 bits each). Throws IllegalArgumentException
     * if a field does not fit.
     */
    public static long highWord(long descriptorAddress, int id, int qualifier, int validation) {
        return descriptorAddress & ADDRESS_HIGH.mask()
                | SOURCE_ID.with(id)
                | SOURCE_QUALIFIER.with(qualifier)
                | SOURCE_VALIDATION.with(validation);
    }

    /** The descriptor's 64-bit physical address, whose low 6 bits are 0. */
    public long descriptorAddress() {
        return Irte.descriptorAddress(low, high);
    }

    @Override
    public Format format() {
        return FORMAT;
    }

    @Override
    public String toString() {
        return FORMAT.text(low, high);
    }
}
