/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import io.kvmirq.Vector;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Meaning;
import io.kvmirq.arch.Rule;
import io.kvmirq.arch.Violation;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import java.util.List;

/**
 * A remapping entry that leaves a device's request in a posted-interrupt descriptor, past the host.
 *
 * <p>Source: VT-d specification, Interrupt Remapping Table Entry for Posted Interrupts; the {@code p_} fields of {@code
 * struct irte} in include/linux/dmar.h.
 *
 * @param present whether the entry is in use
 * @param faultDisabled whether its faults go unrecorded
 * @param reserved2 6 bits, 7:2
 * @param available 4 bits for software
 * @param reserved12 2 bits, 13:12
 * @param urgent notify although the descriptor suppresses notifications
 * @param posted IM: true in this form
 * @param vector of the guest
 * @param reserved24 14 bits, 37:24
 * @param descriptorAddress physical, 64 bits of which the low 6 are 0
 * @param source whose requests may use it
 * @param reserved84 12 bits, 95:84
 */
public record PostedIrte(
        boolean present,
        boolean faultDisabled,
        int reserved2,
        int available,
        int reserved12,
        boolean urgent,
        boolean posted,
        Vector vector,
        int reserved24,
        long descriptorAddress,
        Source source,
        int reserved84)
        implements Irte {
    /** A descriptor's address has so many low bits that are 0 and not kept. */
    static final int ADDRESS_BOUNDARY_BITS = 6;

    /** PDAL, bits 63:38: bits 31:6 of the descriptor's address. */
    public static final BitField ADDRESS_LOW = new BitField("pda_l", 38, 26);
    /** The field is so many bits above those it holds; those of the other lie where they are in the address. */
    static final int ADDRESS_LOW_SHIFT = ADDRESS_LOW.low() - ADDRESS_BOUNDARY_BITS;

    /** PDAH, bits 127:96: bits 63:32 of the descriptor's address. */
    public static final BitField ADDRESS_HIGH = new BitField("pda_h", 96, 32);

    private static final BitField RESERVED_2 = new BitField("rsvd_2_7", 2, 6);
    private static final BitField RESERVED_12 = new BitField("rsvd_12_13", 12, 2);

    /** URG, bit 14. */
    public static final BitField URGENT = BitField.bit("urgent", 14);

    private static final BitField RESERVED_24 = new BitField("rsvd_24_37", 24, 14);
    private static final BitField RESERVED_84 = new BitField("rsvd_84_95", 84, 12);

    /** Kind {@code irte.vtd.posted}. */
    public static final Format FORMAT = Format.builder("irte.vtd.posted", "VT-d IRTE, posted form", 64, 2)
            .fields(
                    Field.of("P", Meaning.oneOf("not present", "present"), PRESENT),
                    Field.of("FPD", Meaning.oneOf("faults recorded", "faults not recorded"), FAULT_DISABLED),
                    Field.reserved(RESERVED_2),
                    Field.of("AVAIL", Meaning.always("for software"), AVAILABLE),
                    Field.reserved(RESERVED_12),
                    Field.of("URG", Meaning.oneOf("heeds SN", "urgent: notifies whatever SN is"), URGENT),
                    Field.of("IM", Meaning.oneOf("remapped", "posted"), POSTED),
                    Field.of("VV", Meaning.always("guest vector"), VECTOR),
                    Field.reserved(RESERVED_24),
                    Field.of("PDAL", Meaning.always("descriptor address 31:6"), ADDRESS_LOW))
            .fields(Irte.sourceFields())
            .fields(
                    Field.reserved(RESERVED_84),
                    Field.of("PDAH", Meaning.always("descriptor address 63:32"), ADDRESS_HIGH),
                    Field.of("PDA", Meaning.always("descriptor address"), ADDRESS_LOW, ADDRESS_HIGH)
                            .named("derived_pda")
                            .shifted(ADDRESS_BOUNDARY_BITS)
                            .derived())
            .reservedFault(RESERVED_FAULT)
            .looked(bits -> Irte.isPresent(bits[0]))
            .remarks(
                    Irte.unused(),
                    Rule.of(
                            ADDRESS_LOW,
                            bits -> Irte.isPresent(bits[0]) && Irte.descriptorAddress(bits[0], bits[1]) == 0,
                            value -> "the descriptor's address is 0"))
            .rules(
                    Rule.is(POSTED, 1, "the entry is of remapped form"),
                    Rule.of(
                            SOURCE_VALIDATION,
                            bits -> SOURCE_VALIDATION.of(bits[1]) == 3,
                            value -> "SVT 3 is reserved"))
            .build();

    /** @throws IllegalArgumentException if a field does not fit or the address is not at a 64-byte boundary */
    public PostedIrte {
        RESERVED_2.with(reserved2);
        AVAILABLE.with(available);
        RESERVED_12.with(reserved12);
        RESERVED_24.with(reserved24);
        PostedInterruptDescriptor.checkAddress(descriptorAddress);
        RESERVED_84.with(reserved84);
    }

    /** Whatever IM says; any bits are taken. */
    public static PostedIrte decode(long low, long high) {
        return new PostedIrte(
                PRESENT.isSet(low),
                FAULT_DISABLED.isSet(low),
                (int) RESERVED_2.of(low),
                (int) AVAILABLE.of(low),
                (int) RESERVED_12.of(low),
                URGENT.isSet(low),
                POSTED.isSet(low),
                new Vector((int) VECTOR.of(low)),
                (int) RESERVED_24.of(low),
                Irte.descriptorAddress(low, high),
                Source.decode(high),
                (int) RESERVED_84.of(high));
    }

    /**
     * Bits 63:0 of an entry in use that posts, without an entry: the fast way.
     *
     * @param descriptorAddress physical, at a 64-byte boundary
     * @param guestVector 0–255
     * @throws IllegalArgumentException if the vector does not fit
     */
    public static long lowWord(long descriptorAddress, int guestVector) {
        return PRESENT.mask()
                | POSTED.mask()
                | VECTOR.with(guestVector)
                | descriptorAddress << ADDRESS_LOW_SHIFT & ADDRESS_LOW.mask();
    }

    /**
     * Bits 127:64 of an entry that posts, without an entry: the fast way.
     *
     * @param descriptorAddress physical, at a 64-byte boundary
     * @param id SID, 16 bits
     * @param qualifier SQ, 2 bits
     * @param validation SVT, 2 bits
     * @throws IllegalArgumentException if a field does not fit
     */
    public static long highWord(long descriptorAddress, int id, int qualifier, int validation) {
        return descriptorAddress & ADDRESS_HIGH.mask()
                | SOURCE_ID.with(id)
                | SOURCE_QUALIFIER.with(qualifier)
                | SOURCE_VALIDATION.with(validation);
    }

    @Override
    public long low() {
        return PRESENT.with(present ? 1 : 0)
                | FAULT_DISABLED.with(faultDisabled ? 1 : 0)
                | RESERVED_2.with(reserved2)
                | AVAILABLE.with(available)
                | RESERVED_12.with(reserved12)
                | URGENT.with(urgent ? 1 : 0)
                | POSTED.with(posted ? 1 : 0)
                | VECTOR.with(vector.number())
                | RESERVED_24.with(reserved24)
                | ADDRESS_LOW.with(descriptorAddress >>> ADDRESS_BOUNDARY_BITS & ADDRESS_LOW.max());
    }

    @Override
    public long high() {
        return source.bits() | RESERVED_84.with(reserved84) | ADDRESS_HIGH.with(descriptorAddress >>> 32);
    }

    /** As {@code kvmirq decode} takes it. */
    @Override
    public String toString() {
        return FORMAT.text(low(), high());
    }

    @Override
    public List<Violation> violations() {
        return FORMAT.violations(low(), high());
    }
}
