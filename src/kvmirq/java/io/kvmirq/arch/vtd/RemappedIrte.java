/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import static io.kvmirq.arch.Description.always;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Description;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.apic.DeliveryMode;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import java.util.Optional;

/**
 * A remapping entry that turns a device interrupt into a host interrupt.
 *
 * <p>Source: VT-d specification, Interrupt Remapping Table Entry for Remapped Interrupts; {@code struct irte} in
 * include/linux/dmar.h, which Linux fills in {@code prepare_irte} of drivers/iommu/intel/irq_remapping.c.
 *
 * @param low bits 63:0
 * @param high bits 127:64
 */
public record RemappedIrte(long low, long high) implements Irte {
    /** DM, bit 2: 1 if the destination is a logical id. */
    public static final BitField LOGICAL = BitField.flag("dst_mode", 2, "DM", "physical", "logical");

    /** RH, bit 3: 1 if only one CPU of the destination gets the interrupt. */
    public static final BitField HINT =
            BitField.flag("redir_hint", 3, "RH", "all of the destination", "one of the destination");

    /** TM, bit 4: 1 if the interrupt is level-triggered. */
    public static final BitField LEVEL = BitField.flag("trigger_mode", 4, "TM", "edge", "level");

    /** DLM, bits 7:5: the delivery mode. */
    public static final BitField MODE = new BitField("dlvry_mode", 5, 3, DeliveryMode.description());

    /** Bits 14:12, reserved. The kernel's definition has IM, bit 15, in the same field. */
    private static final BitField RESERVED_12 = new BitField("rsvd_12_14", 12, 3);

    private static final BitField RESERVED_12_WITH_IM = new BitField(
            "rsvd_12_15",
            12,
            4,
            Description.saying("IM, R", (value, bits) -> "bit 15: " + (POSTED.isSet(bits[0]) ? "posted" : "remapped"))
                    .checked((value, bits) -> RESERVED_12.isSet(bits[0])
                            ? Optional.of("reserved bits 14:12 are 0x" + Long.toHexString(RESERVED_12.of(bits[0]))
                                    + " and not 0 (" + RESERVED_FAULT + ")")
                            : Optional.empty())
                    .checked((value, bits) -> POSTED.isSet(bits[0])
                            ? Optional.of("IM, bit 15, is 1: the entry is of posted form")
                            : Optional.empty()));

    /** DST, bits 63:32: an x2APIC id, or an xAPIC id in bits 15:8 of DST; a logical id if DM is 1. */
    public static final BitField DESTINATION = new BitField(
            "dest_id",
            32,
            32,
            Description.saying("DST", (value, bits) -> destinationText(value, LOGICAL.isSet(bits[0]))));

    /** The {@code kvmirq decode} format {@code irte.vtd.remapped}. */
    public static final Format FORMAT = Irte.format(
                    "irte.vtd.remapped",
                    "VT-d IRTE, remapped form",
                    PRESENT,
                    FAULT_DISABLED,
                    LOGICAL,
                    HINT,
                    LEVEL,
                    MODE,
                    AVAILABLE,
                    RESERVED_12_WITH_IM,
                    VECTOR.as(DeliveryMode.deliverable(always("V", "host vector"), MODE)),
                    BitField.reserved("rsvd_24_31", 24, 8),
                    DESTINATION)
            .fields(BitField.reserved("rsvd_84_127", 84, 44))
            .build();

    /** The bits of the low word that posting keeps, as in {@code dmar_copy_shared_irte}. */
    private static final long KEPT_LOW = PRESENT.mask() | FAULT_DISABLED.mask() | AVAILABLE.mask();

    private static final long KEPT_HIGH = SOURCE_ID.mask() | SOURCE_QUALIFIER.mask() | SOURCE_VALIDATION.mask();

    private static String destinationText(long destination, boolean logical) {
        if (logical) {
            return "logical destination";
        }
        String x2apic = "destination, x2APIC id 0x" + Long.toHexString(destination);
        return (destination & ~0xff00L) == 0 && destination != 0
                ? x2apic + " or xAPIC id 0x" + Long.toHexString(destination >>> 8)
                : x2apic;
    }

    /** The unsigned 32-bit {@link #DESTINATION}, DST. */
    public long destination() {
        return DESTINATION.of(low);
    }

    /** The delivery mode. */
    public DeliveryMode mode() {
        return DeliveryMode.of((int) MODE.of(low));
    }

    /** Whether IM (bit 15) and the reserved bits 14:12 are 0, as in every valid entry of this form. */
    public boolean isClear12() {
        return !RESERVED_12_WITH_IM.isSet(low);
    }

    /**
     * A copy of this entry that posts to a descriptor. It keeps P, FPD, AVAIL and the source, as {@code
     * intel_ir_set_vcpu_affinity} does. Throws IllegalArgumentException unless the address is at a 64-byte boundary.
     */
    public PostedIrte posted(long descriptorAddress, InterruptVector guestVector) {
        PostedInterruptDescriptor.checkAddress(descriptorAddress);
        return new PostedIrte(
                low & KEPT_LOW | PostedIrte.lowWord(descriptorAddress, guestVector.number()) & ~PRESENT.mask(),
                high & KEPT_HIGH | PostedIrte.highWord(descriptorAddress, 0, 0, 0));
    }

    /** A copy for a changed host irq affinity. Throws IllegalArgumentException if DST has more than 32 bits. */
    public RemappedIrte moved(InterruptVector toVector, long toDestination) {
        return new RemappedIrte(DESTINATION.put(VECTOR.put(low, toVector.number()), toDestination), high);
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
