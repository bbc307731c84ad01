/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import static io.kvmirq.arch.Description.always;
import static io.kvmirq.arch.Description.oneOf;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Description;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.FormatBuilder;
import io.kvmirq.arch.Structure;
import java.util.Objects;

/**
 * A 128-bit interrupt-remapping table entry (IRTE), stored as two 64-bit words, the low one first. Both forms, remapped
 * and posted, have the fields of this interface. To scan a table without allocating, read the fields and {@link
 * #descriptorAddress} from the words.
 *
 * <p>Source: VT-d specification, Interrupt Remapping Table Entry for Remapped and for Posted Interrupts; {@code struct
 * irte} in include/linux/dmar.h.
 */
public sealed interface Irte extends Structure permits RemappedIrte, PostedIrte {
    /** The entry size in bytes. */
    int BYTES = 16;

    /** The fault that hardware reports for nonzero reserved bits. */
    String RESERVED_FAULT = "fault reason 0x24";

    /** P, bit 0: 1 if the entry is in use. If P is 0, hardware ignores the other fields. */
    BitField PRESENT = BitField.flag("present", 0, "P", "not present", "present");

    /** FPD, bit 1: 1 if hardware does not record this entry's faults. */
    BitField FAULT_DISABLED = BitField.flag("fpd", 1, "FPD", "faults recorded", "faults not recorded");

    /** AVAIL, bits 11:8: available to software, ignored by hardware. */
    BitField AVAILABLE = new BitField("avail", 8, 4, always("AVAIL", "for software"));

    /** IM, bit 15: 1 if the entry posts to a descriptor, 0 if it remaps. */
    BitField POSTED =
            BitField.bit("pst", 15, oneOf("IM", "remapped", "posted").expecting(1, "the entry is of remapped form"));

    /** V or VV, bits 23:16: the host vector, or the guest vector if the entry posts. */
    BitField VECTOR = new BitField("vector", 16, 8, always("VV", "guest vector"));

    /** SID, bits 79:64: a requester id, or the first and the last bus of a range. */
    BitField SOURCE_ID = new BitField("sid", 64, 16, Description.saying("SID", Source::idText));

    /** SQ, bits 81:80: the low bits of the requester id that are not compared. */
    BitField SOURCE_QUALIFIER = new BitField(
            "sq",
            80,
            2,
            oneOf("SQ", "compare all of SID", "ignore SID bit 2", "ignore SID bits 2:1", "ignore SID bits 2:0"));

    /** SVT, bits 83:82: how the requester is checked. */
    BitField SOURCE_VALIDATION = new BitField(
            "svt",
            82,
            2,
            oneOf("SVT", "source not verified", "verify by SID and SQ", "verify by bus range")
                    .forbidding(value -> value == Source.VALIDATION_RESERVED, value -> "SVT 3 is reserved"));

    /** Decodes an entry in remapped or posted form, as IM (bit 15) selects. Any bits are accepted. */
    static Irte decode(long low, long high) {
        return POSTED.isSet(low) ? new PostedIrte(low, high) : new RemappedIrte(low, high);
    }

    /**
     * The address of a posted entry's descriptor, with 0 in the low 6 bits. This is one shift faster than {@link
     * PostedIrte#ADDRESS}, so use it to scan a table.
     */
    static long descriptorAddress(long low, long high) {
        return high & PostedIrte.ADDRESS_HIGH.mask()
                | (low & PostedIrte.ADDRESS_LOW.mask()) >>> PostedIrte.ADDRESS_LOW_SHIFT;
    }

    /** Bits 63:0 of the entry. */
    long low();

    /** Bits 127:64 of the entry. */
    long high();

    @Override
    default long[] bits() {
        return new long[] {low(), high()};
    }

    @Override
    default boolean is(BitField field) {
        return field.isSet(field.word() == 0 ? low() : high());
    }

    /** The host vector, or the guest vector if the entry posts. */
    default InterruptVector vector() {
        return new InterruptVector((int) VECTOR.of(low()));
    }

    /** The requesters that may use this entry. */
    default Source source() {
        return new Source(
                (int) SOURCE_ID.of(high()), (int) SOURCE_QUALIFIER.of(high()), (int) SOURCE_VALIDATION.of(high()));
    }

    /** Creates a builder for one form's format, with the form's fields {@code low}, then SID, SQ and SVT. */
    static FormatBuilder format(String kind, String title, Field... low) {
        Objects.requireNonNull(kind, "kind is null");
        Objects.requireNonNull(title, "title is null");
        Objects.requireNonNull(low, "low is null");
        return Format.builder(kind, title, 64, 2)
                .fields(low)
                .fields(SOURCE_ID, SOURCE_QUALIFIER, SOURCE_VALIDATION)
                .reservedFault(RESERVED_FAULT)
                .looked(bits -> PRESENT.isSet(bits[0]))
                .remark(
                        bits -> !PRESENT.isSet(bits[0]) && (bits[0] | bits[1]) != 0,
                        "P is 0: hardware reads nothing else. If your tool prints the high word first, add --high-first");
    }
}
