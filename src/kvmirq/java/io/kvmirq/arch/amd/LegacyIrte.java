/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

import static io.kvmirq.arch.Description.always;
import static io.kvmirq.arch.Description.oneOf;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;

/** A 32-bit remapping entry, the kernel's {@code union irte}. Bits 6:0 are the same in a remapped {@link GaIrte}. */
public final class LegacyIrte {
    /** 1 if the entry is in use. */
    public static final BitField VALID = BitField.flag("valid", 0, "RemapEn", "not in use", "in use");

    /** 1 if the IOMMU does not record this entry's faults. */
    public static final BitField NO_FAULT =
            BitField.flag("no_fault", 1, "SupIOPF", "faults recorded", "faults not recorded");

    /** The interrupt type: fixed or arbitrated. */
    public static final BitField INT_TYPE = new BitField(
            "int_type",
            2,
            3,
            oneOf("IntType", "fixed", "arbitrated")
                    .forbidding(value -> value > 1, value -> "interrupt type " + value + " is reserved in an entry"));

    /** RqEoi: 1 if the entry requests an EOI for its interrupt. */
    public static final BitField RQ_EOI = BitField.flag("rq_eoi", 5, "RqEoi", "no EOI requested", "EOI requested");

    /** DM: 1 if the destination is a logical id, 0 if it is a physical id. */
    public static final BitField LOGICAL = BitField.flag("dm", 6, "DM", "physical", "logical");

    /** The 8-bit APIC id of the host CPU that gets the interrupt. */
    public static final BitField DESTINATION = new BitField("destination", 8, 8, always("Destination", "APIC id"));

    /** The vector that the host CPU gets. */
    public static final BitField VECTOR = new BitField("vector", 16, 8, always("Vector", "host vector"));

    /** The {@code kvmirq decode} format {@code irte.amd.legacy32}. */
    public static final Format FORMAT = Format.builder("irte.amd.legacy32", "AMD IRTE of 32 bits", 32, 1)
            .fields(VALID, NO_FAULT, INT_TYPE, RQ_EOI, LOGICAL, BitField.reserved("rsvd_1", 7, 1))
            .fields(DESTINATION, VECTOR, BitField.reserved("rsvd_2", 24, 8))
            .looked(bits -> VALID.isSet(bits[0]))
            .build();

    private LegacyIrte() {}
}
