/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static io.kvmirq.arch.Description.always;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.SplitField;

/**
 * The fields of a 64-bit IOAPIC redirection entry, in compatibility form and in remappable form, which refers to an
 * IRTE.
 *
 * <p>Source: 82093AA datasheet, "IOREDTBL"; VT-d specification, "I/OxAPIC Programming"; {@code union
 * kvm_ioapic_redirect_entry} in arch/x86/kvm/ioapic.h; {@code struct IO_APIC_route_entry} in
 * arch/x86/include/asm/io_apic.h.
 */
public final class IoapicEntry {
    /** The physical address of the first IOAPIC's registers. */
    public static final long REGISTERS = 0xfec0_0000L;

    /** The delivery mode. Its bits are 0 in remappable form. */
    public static final BitField MODE = new BitField("delivery_mode", 8, 3, DeliveryMode.description());

    /** The vector that the pin sends. In remappable form, the vector only determines which EOIs end the interrupt. */
    public static final BitField VECTOR =
            new BitField("vector", 0, 8, DeliveryMode.deliverable(always("INTVEC", "vector"), MODE));

    /** Destination mode: 1 if the destination is a logical id. In remappable form, this is bit 15 of the handle. */
    public static final BitField LOGICAL = BitField.flag("dest_mode_logical", 11, "DESTMOD", "physical", "logical");

    /** Delivery status: 1 if the pin's message has not been sent yet. Read-only. */
    public static final BitField SEND_PENDING = BitField.flag("delivery_status", 12, "DELIVS", "idle", "send pending")
            .ordinarily(0);

    /** Polarity of the pin: 1 if the pin is active low. */
    public static final BitField ACTIVE_LOW = BitField.flag("active_low", 13, "INTPOL", "active high", "active low");

    /** Remote IRR of a level-triggered pin: 1 while an accepted interrupt awaits its EOI. Read-only. */
    public static final BitField REMOTE_IRR =
            BitField.flag("irr", 14, "RIRR", "no EOI awaited", "EOI awaited").ordinarily(0);

    /** Trigger mode: 1 if the pin is level-triggered. */
    public static final BitField LEVEL = BitField.flag("is_level", 15, "TM", "edge", "level");

    /** 1 if the pin is masked and sends no messages. */
    public static final BitField MASKED = BitField.flag("masked", 16, "MASK", "not masked", "masked");

    /** Destination bits 14:8 if a hypervisor supports them, otherwise 0. */
    public static final BitField EXTENDED = new BitField(
                    "virt_destid_8_14", 49, 7, always("XID", "destination 14:8 where a hypervisor offers it"))
            .ordinarily(0);

    /** The 8-bit destination. */
    public static final BitField DESTINATION = new BitField("destid_0_7", 56, 8, always("DEST", "destination, 8 bits"));

    /** 1 if the entry is in remappable form. */
    public static final BitField REMAPPABLE =
            BitField.flag("format", 48, "IF", "compatibility format", "remappable format");

    /** Remappable form: the handle, an index into the remapping table. */
    public static final SplitField HANDLE = new SplitField(
            "index",
            new BitField("index_0_14", 49, 15),
            new BitField("index_15", 11, 1),
            always("HANDLE", "handle 15, 14:0"));

    private static final BitField RESERVED_17 =
            BitField.reserved("rsvd_17_47", 17, 31).ordinarily(0);

    /** The {@code kvmirq decode} format {@code ioapic.rte}. */
    public static final Format COMPATIBLE = Format.builder("ioapic.rte", "IOAPIC entry, compatibility form", 64, 1)
            .fields(VECTOR, MODE, LOGICAL, ACTIVE_LOW, LEVEL, MASKED, DESTINATION)
            .fields(SEND_PENDING, REMOTE_IRR, RESERVED_17, EXTENDED)
            .fields(as(0, "it is of remappable format"))
            .build();

    /** The {@code kvmirq decode} format {@code ioapic.rte.remap}. */
    public static final Format REMAPPED = Format.builder("ioapic.rte.remap", "IOAPIC entry, remappable form", 64, 1)
            .fields(HANDLE, VECTOR.as(always("V", "vector that an EOI names")), ACTIVE_LOW, LEVEL, MASKED)
            .fields(SEND_PENDING, REMOTE_IRR)
            .fields(BitField.reserved("rsvd_8_10", 8, 3).ordinarily(0), RESERVED_17)
            .fields(as(1, "it is of compatibility format"))
            .build();

    private static BitField as(int format, String otherwise) {
        return REMAPPABLE
                .as(REMAPPABLE.description().expecting(format, otherwise))
                .ordinarily(format);
    }

    private IoapicEntry() {}
}
