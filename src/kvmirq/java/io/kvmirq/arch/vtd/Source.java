/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import io.kvmirq.arch.Meaning;

/**
 * The requesters that may use a remapping entry.
 *
 * <p>Source: VT-d specification, Interrupt Remapping Table Entry; {@code set_irte_sid} in
 * drivers/iommu/intel/irq_remapping.c.
 *
 * @param id SID, 16 bits: a requester's bus, device and function, or the first and the last bus of a range
 * @param qualifier SQ, 2 bits, which select the low id bits that are not compared
 * @param validation SVT, 2 bits: 0 accepts any requester, 1 checks id and qualifier, 2 checks the bus, 3 is reserved
 */
public record Source(int id, int qualifier, int validation) {
    private static final int VALIDATION_OFF = 0;
    private static final int VALIDATION_BY_ID = 1;
    private static final int VALIDATION_BY_BUS = 2;

    /** SVT 3, with which hardware blocks every request. */
    public static final int VALIDATION_RESERVED = 3;

    /** The bits of an id that are not compared, by SQ. */
    private static final int[] IGNORED = {0, 1 << 2, 3 << 1, 7};

    /** @throws IllegalArgumentException if a field does not fit */
    public Source {
        Irte.SOURCE_ID.with(id);
        Irte.SOURCE_QUALIFIER.with(qualifier);
        Irte.SOURCE_VALIDATION.with(validation);
    }

    /** Whether the requester with this 16-bit id may use the entry. If SVT is reserved, none may. */
    public boolean accepts(int requester) {
        return switch (validation) {
            case VALIDATION_OFF -> true;
            case VALIDATION_BY_ID -> ((requester ^ id) & ~IGNORED[qualifier]) == 0;
            case VALIDATION_BY_BUS -> requester >>> 8 >= id >>> 8 && requester >>> 8 <= (id & 0xff);
            default -> false;
        };
    }

    static String idText(long id, long[] entry) {
        return Irte.SOURCE_VALIDATION.of(entry[1]) == VALIDATION_BY_BUS
                ? String.format("requesters of buses %02x-%02x", id >>> 8, id & 0xff)
                : "requester " + Meaning.requester(id);
    }

    @Override
    public String toString() {
        return Meaning.requester(id) + " sq " + qualifier + " svt " + validation;
    }
}
