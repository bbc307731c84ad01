/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Meaning;
import io.kvmirq.arch.Rule;
import io.kvmirq.arch.Violation;
import java.util.List;

/**
 * An interrupt-remapping table entry, 128 bits: two words of 64, the low one at the lower address. The static methods
 * are for scans: they take the words, allocate nothing, and ask only what the entry's form has.
 *
 * <p>Source: VT-d specification, Interrupt Remapping Table Entry for Remapped and for Posted Interrupts; {@code struct
 * irte} in include/linux/dmar.h.
 */
public sealed interface Irte permits RemappedIrte, PostedIrte {
    /** Length in bytes. */
    int BYTES = 16;

    /** What the hardware reports for reserved bits that are not 0. */
    String RESERVED_FAULT = "fault reason 0x24";

    /** P, bit 0. */
    BitField PRESENT = BitField.bit("present", 0);

    /** FPD, bit 1. */
    BitField FAULT_DISABLED = BitField.bit("fpd", 1);

    /** AVAIL, bits 11:8. */
    BitField AVAILABLE = new BitField("avail", 8, 4);

    /** IM, bit 15: posted, not remapped. */
    BitField POSTED = BitField.bit("pst", 15);

    /** V or VV, bits 23:16. */
    BitField VECTOR = new BitField("vector", 16, 8);

    /** SID, bits 79:64. */
    BitField SOURCE_ID = new BitField("sid", 64, 16);

    /** SQ, bits 81:80. */
    BitField SOURCE_QUALIFIER = new BitField("sq", 80, 2);

    /** SVT, bits 83:82. */
    BitField SOURCE_VALIDATION = new BitField("svt", 82, 2);

    /** By IM; any bits are taken. */
    static Irte decode(long low, long high) {
        return isPosted(low) ? PostedIrte.decode(low, high) : RemappedIrte.decode(low, high);
    }

    /** Whether the entry is in use: else the hardware looks at nothing else in it. */
    static boolean isPresent(long low) {
        return PRESENT.isSet(low);
    }

    /** Whether the entry posts to a descriptor; else it remaps. */
    static boolean isPosted(long low) {
        return POSTED.isSet(low);
    }

    /** The vector, 0–255: a guest's where the entry is posted. */
    static int vector(long low) {
        return (int) VECTOR.of(low);
    }

    /** The requester id, 16 bits: bus, device, function. */
    static int sourceId(long high) {
        return (int) SOURCE_ID.of(high);
    }

    /** The destination of a remapped entry, 32 bits: see {@link RemappedIrte#destination()}. */
    static long destination(long low) {
        return RemappedIrte.DESTINATION.of(low);
    }

    /** The physical address of a posted entry's descriptor, 64 bits of which the low 6 are 0. */
    static long descriptorAddress(long low, long high) {
        return high & PostedIrte.ADDRESS_HIGH.mask()
                | (low & PostedIrte.ADDRESS_LOW.mask()) >>> PostedIrte.ADDRESS_LOW_SHIFT;
    }

    /** Whether the entry is in use. */
    boolean present();

    /** Whether faults of this entry go unrecorded. */
    boolean faultDisabled();

    /** 4 bits for software. */
    int available();

    /** Whose requests may use this entry. */
    Source source();

    /** Bits 63:0. */
    long low();

    /** Bits 127:64. */
    long high();

    /** What the manual forbids and is so: nothing where the entry is not in use. */
    List<Violation> violations();

    /** A remark on an entry that is not in use and not empty. */
    static Rule unused() {
        return Rule.of(
                PRESENT,
                bits -> !isPresent(bits[0]) && (bits[0] | bits[1]) != 0,
                value -> "P is 0, so that hardware looks at nothing else; tools that print the high word first want"
                        + " --high-first");
    }

    /** The fields of {@link Source}, as they are printed. */
    static Field[] sourceFields() {
        return new Field[] {
            Field.of("SID", (value, bits) -> sourceText(value, bits), SOURCE_ID),
            Field.of(
                    "SQ",
                    Meaning.oneOf(
                            "compare all of SID", "ignore SID bit 2", "ignore SID bits 2:1", "ignore SID bits 2:0"),
                    SOURCE_QUALIFIER),
            Field.of(
                    "SVT",
                    Meaning.oneOf("source not verified", "verify by SID and SQ", "verify by bus range"),
                    SOURCE_VALIDATION)
        };
    }

    private static String sourceText(long sid, long[] bits) {
        return SOURCE_VALIDATION.of(bits[1]) == 2
                ? String.format("requesters of buses %02x–%02x", sid >>> 8, sid & 0xff)
                : "requester " + Meaning.requester(sid);
    }
}
