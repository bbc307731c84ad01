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
