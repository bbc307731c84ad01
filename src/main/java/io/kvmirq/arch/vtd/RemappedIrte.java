/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import io.kvmirq.Vector;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Meaning;
import io.kvmirq.arch.Rule;
import io.kvmirq.arch.Violation;
import io.kvmirq.arch.apic.DeliveryMode;
import java.util.List;

/**
 * A remapping entry that turns a device's request into another interrupt of the host.
 *
 * <p>Source: VT-d specification, Interrupt Remapping Table Entry for Remapped Interrupts; {@code struct irte} in
 * include/linux/dmar.h, which Linux fills in {@code prepare_irte} of drivers/iommu/intel/irq_remapping.c.
 *
 * @param present whether the entry is in use
 * @param faultDisabled whether its faults go unrecorded
 * @param logical the destination is a logical id, not a physical one
 * @param redirectionHint one of the CPUs of the destination, instead of all
 * @param level trigger mode: level, not edge
 * @param mode what becomes of the interrupt
 * @param available 4 bits for software
 * @param reserved12 4 bits, 15:12, of which the highest is IM: 0 in this form
 * @param vector of the host
 * @param reserved24 8 bits, 31:24
 * @param destination 32 bits: an x2APIC id, or an xAPIC id in [15:8]; where it is logical, a set of such
 * @param source whose requests may use it
 * @param reserved84 44 bits, 127:84
 */
public record RemappedIrte(
        boolean present,
        boolean faultDisabled,
        boolean logical,
        boolean redirectionHint,
        boolean level,
        DeliveryMode mode,
        int available,
        int reserved12,
        Vector vector,
        int reserved24,
        long destination,
        Source source,
        long reserved84)
        implements Irte {
    /** DST, bits 63:32. */
    public static final BitField DESTINATION = new BitField("dest_id", 32, 32);

    /** DM, bit 2. */
    public static final BitField LOGICAL = BitField.bit("dst_mode", 2);

    /** RH, bit 3. */
    public static final BitField HINT = BitField.bit("redir_hint", 3);

    /** TM, bit 4. */
    public static final BitField LEVEL = BitField.bit("trigger_mode", 4);

    /** DLM, bits 7:5. */
    public static final BitField MODE = new BitField("dlvry_mode", 5, 3);
    /** The kernel's definition has IM in a run of its own with what is reserved. */
    private static final BitField RESERVED_12_WITH_IM = new BitField("rsvd_12_15", 12, 4);

    private static final BitField RESERVED_12 = new BitField("rsvd_12_15", 12, 3);
    private static final BitField RESERVED_24 = new BitField("rsvd_24_31", 24, 8);
    private static final BitField RESERVED_84 = new BitField("rsvd_84_127", 84, 44);

    /** Kind {@code irte.vtd.remapped}. */
    public static final Format FORMAT = Format.builder("irte.vtd.remapped", "VT-d IRTE, remapped form", 64, 2)
            .fields(
                    Field.of("P", Meaning.oneOf("not present", "present"), PRESENT),
                    Field.of("FPD", Meaning.oneOf("faults recorded", "faults not recorded"), FAULT_DISABLED),
                    Field.of("DM", Meaning.oneOf("physical", "logical"), LOGICAL),
                    Field.of("RH", Meaning.oneOf("all of the destination", "one of the destination"), HINT),
                    Field.of("TM", Meaning.oneOf("edge", "level"), LEVEL),
                    Field.of("DLM", DeliveryMode.meaning(), MODE),
                    Field.of("AVAIL", Meaning.always("for software"), AVAILABLE),
                    Field.of(
                            "IM, R",
                            (value, bits) -> "bit 15: " + (POSTED.isSet(bits[0]) ? "posted" : "remapped"),
                            RESERVED_12_WITH_IM),
                    Field.of("V", Meaning.always("host vector"), VECTOR),
                    Field.reserved(RESERVED_24),
                    Field.of("DST", (value, bits) -> destinationText(value, LOGICAL.isSet(bits[0])), DESTINATION))
            .fields(Irte.sourceFields())
            .fields(Field.reserved(RESERVED_84))
            .reservedFault(RESERVED_FAULT)
            .looked(bits -> Irte.isPresent(bits[0]))
            .remarks(Irte.unused())
            .rules(
                    Rule.of(
                            RESERVED_12,
                            bits -> RESERVED_12.isSet(bits[0]),
                            value -> "reserved bits 14:12 are 0x" + Long.toHexString(value) + " and not 0 ("
                                    + RESERVED_FAULT + ")"),
                    Rule.of(
                            RESERVED_12_WITH_IM,
                            bits -> POSTED.isSet(bits[0]),
                            value -> "IM, bit 15, is 1: the entry is of posted form"),
                    DeliveryMode.known(MODE),
                    DeliveryMode.deliverable(MODE, VECTOR),
                    Rule.of(
                            SOURCE_VALIDATION,
                            bits -> SOURCE_VALIDATION.of(bits[1]) == 3,
                            value -> "SVT 3 is reserved"))
            .build();

    /** @throws IllegalArgumentException if a field does not fit */
    public RemappedIrte {
        AVAILABLE.with(available);
        RESERVED_12_WITH_IM.with(reserved12);
        RESERVED_24.with(reserved24);
        DESTINATION.with(destination);
        RESERVED_84.with(reserved84);
    }

    private static String destinationText(long destination, boolean logical) {
        if (logical) {
            return "logical destination";
        }
        String x2apic = "destination, x2APIC id 0x" + Long.toHexString(destination);
        return (destination & ~0xff00L) == 0 && destination != 0
                ? x2apic + " or xAPIC id 0x" + Long.toHexString(destination >>> 8)
                : x2apic;
    }

    /** Whatever IM says; any bits are taken. */
    public static RemappedIrte decode(long low, long high) {
        return new RemappedIrte(
                PRESENT.isSet(low),
                FAULT_DISABLED.isSet(low),
                LOGICAL.isSet(low),
                HINT.isSet(low),
                LEVEL.isSet(low),
                DeliveryMode.of((int) MODE.of(low)),
                (int) AVAILABLE.of(low),
                (int) RESERVED_12_WITH_IM.of(low),
                new Vector((int) VECTOR.of(low)),
                (int) RESERVED_24.of(low),
                DESTINATION.of(low),
                Source.decode(high),
                RESERVED_84.of(high));
    }

    /**
     * This entry as one that posts to a guest. Present, fault disable, the software's bits and the source are kept, all
     * else starts anew, as in {@code intel_ir_set_vcpu_affinity}.
     *
     * @param descriptorAddress physical, of a posted-interrupt descriptor, at a 64-byte boundary
     * @param guestVector requested in it
     * @throws IllegalArgumentException if the address is at no such boundary
     */
    public PostedIrte posted(long descriptorAddress, Vector guestVector) {
        return new PostedIrte(
                present, faultDisabled, 0, available, 0, false, true, guestVector, 0, descriptorAddress, source, 0);
    }

    /** This entry with another vector and destination, as when the host moves the interrupt. */
    public RemappedIrte moved(Vector toVector, long toDestination) {
        return new RemappedIrte(
                present,
                faultDisabled,
                logical,
                redirectionHint,
                level,
                mode,
                available,
                reserved12,
                toVector,
                reserved24,
                toDestination,
                source,
                reserved84);
    }

    @Override
    public long low() {
        return PRESENT.with(present ? 1 : 0)
                | FAULT_DISABLED.with(faultDisabled ? 1 : 0)
                | LOGICAL.with(logical ? 1 : 0)
                | HINT.with(redirectionHint ? 1 : 0)
                | LEVEL.with(level ? 1 : 0)
                | MODE.with(mode.number())
                | AVAILABLE.with(available)
                | RESERVED_12_WITH_IM.with(reserved12)
                | VECTOR.with(vector.number())
                | RESERVED_24.with(reserved24)
                | DESTINATION.with(destination);
    }

    @Override
    public long high() {
        return source.bits() | RESERVED_84.with(reserved84);
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
