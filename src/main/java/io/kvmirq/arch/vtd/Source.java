/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import io.kvmirq.arch.Meaning;

/**
 * Whose requests may use a remapping entry.
 *
 * <p>Source: VT-d specification, Interrupt Remapping Table Entry; {@code set_irte_sid} in
 * drivers/iommu/intel/irq_remapping.c.
 *
 * @param id SID, 16 bits: a requester's bus, device and function, or first and last bus
 * @param qualifier SQ, 2 bits: how many of the id's low 3 bits are not compared
 * @param validation SVT, 2 bits: 0 anybody, 1 by id and qualifier, 2 by bus, 3 reserved
 */
public record Source(int id, int qualifier, int validation) {
    private static final int VALIDATION_OFF = 0;
    private static final int VALIDATION_BY_ID = 1;
    private static final int VALIDATION_BY_BUS = 2;
    static final int VALIDATION_RESERVED = 3;

    /** By SQ, the bits of an id that are not compared. */
    private static final int[] IGNORED = {0, 1 << 2, 3 << 1, 7};

    /** @throws IllegalArgumentException if a field does not fit */
    public Source {
        Irte.SOURCE_ID.with(id);
        Irte.SOURCE_QUALIFIER.with(qualifier);
        Irte.SOURCE_VALIDATION.with(validation);
    }

    static Source decode(long high) {
        return new Source((int) Irte.SOURCE_ID.of(high), (int) Irte.SOURCE_QUALIFIER.of(high), (int)
                Irte.SOURCE_VALIDATION.of(high));
    }

    /** Whether a device with this requester id, 16 bits, may use the entry. Nobody may where SVT is reserved. */
    public boolean accepts(int requester) {
        return switch (validation) {
            case VALIDATION_OFF -> true;
            case VALIDATION_BY_ID -> ((requester ^ id) & ~IGNORED[qualifier]) == 0;
            case VALIDATION_BY_BUS -> requester >>> 8 >= id >>> 8 && requester >>> 8 <= (id & 0xff);
            default -> false;
        };
    }

    long bits() {
        return Irte.SOURCE_ID.with(id)
                | Irte.SOURCE_QUALIFIER.with(qualifier)
                | Irte.SOURCE_VALIDATION.with(validation);
    }

    @Override
    public String toString() {
        return Meaning.requester(id) + " sq " + qualifier + " svt " + validation;
    }
}
