/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

/**
 * The fault reason that a remapping unit records when it blocks an interrupt request.
 *
 * <p>Source: VT-d specification, "Interrupt Translation Faults". It is not verified that an entry's FPD also suppresses
 * the records of faults 0x27 and 0x28.
 */
public enum FaultReason {
    RESERVED_IN_REQUEST(0x20, "reserved bits of the request are set"),
    BEYOND_TABLE(0x21, "the request names an entry that the table does not have"),
    NOT_PRESENT(0x22, "the entry is not present"),
    TABLE_UNREADABLE(0x23, "the table cannot be read"),
    RESERVED_IN_ENTRY(0x24, "reserved bits of the entry are set, or a field has a reserved value"),
    COMPATIBILITY_BLOCKED(0x25, "the request is in compatibility format, which is blocked"),
    WRONG_SOURCE(0x26, "the entry is not for this requester"),
    DESCRIPTOR_UNREADABLE(0x27, "the posted-interrupt descriptor cannot be read or written"),
    RESERVED_IN_DESCRIPTOR(0x28, "reserved bits of the posted-interrupt descriptor are set");

    private final int number;
    private final String text;

    FaultReason(int number, String text) {
        this.number = number;
        this.text = text;
    }

    /** The 8-bit number of the reason in a fault record. */
    public int number() {
        return number;
    }

    /** Whether the entry's FPD can suppress the record, which requires that the unit has read the entry. */
    boolean isOfEntry() {
        return switch (this) {
            case NOT_PRESENT, RESERVED_IN_ENTRY, WRONG_SOURCE, DESCRIPTOR_UNREADABLE, RESERVED_IN_DESCRIPTOR -> true;
            case RESERVED_IN_REQUEST, BEYOND_TABLE, TABLE_UNREADABLE, COMPATIBILITY_BLOCKED -> false;
        };
    }

    @Override
    public String toString() {
        return "fault 0x" + Integer.toHexString(number) + ": " + text;
    }
}
