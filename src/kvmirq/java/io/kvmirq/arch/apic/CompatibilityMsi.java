/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static io.kvmirq.arch.Description.always;
import static io.kvmirq.arch.Description.oneOf;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.SplitField;
import io.kvmirq.arch.Structure;
import java.util.Objects;

/**
 * An MSI in compatibility format. Devices write this format if interrupts are not remapped, and a guest's MSI routes
 * use it. The three 32-bit words are the low address, the high address and the data.
 *
 * <p>Source: Intel SDM volume 3, "Message Signalled Interrupts"; {@code struct x86_msi_addr_lo} and its neighbors in
 * arch/x86/include/asm/msi.h; {@code kvm_msi_to_lapic_irq} in arch/x86/kvm/irq.c.
 *
 * @param address the 64-bit address, with the high word in bits 63:32
 * @param data the data that the device writes, 32 bits
 */
public record CompatibilityMsi(long address, int data) implements Structure {
    /** The {@link #BASE_ADDRESS} of every interrupt message. */
    public static final int BASE = 0xfee;

    /** Address bits 1:0, ignored. */
    public static final BitField IGNORED_0 =
            new BitField("rsvd_0_1", 0, 2, always("R", "ignored").ordinarily(0));

    /** Destination mode: 1 if the destination is a logical id. */
    public static final BitField LOGICAL = BitField.flag("dest_mode_logical", 2, "DM", "physical", "logical");

    /** Redirection hint: 1 if only one CPU of the destination gets the interrupt. */
    public static final BitField HINT =
            BitField.flag("redirect_hint", 3, "RH", "all of the destination", "one of the destination");

    /** 1 if the message has the format of {@code RemappableMsi}, not this format. */
    public static final BitField REMAPPABLE =
            format(0, "it is of remappable format").ordinarily(0);

    /** Destination bits 14:8 if a hypervisor supports them in the address's low word, otherwise 0. */
    public static final BitField EXTENDED = new BitField(
            "virt_destid_8_14",
            5,
            7,
            always("XID", "destination 14:8 where a hypervisor offers it").ordinarily(0));

    /** Destination bits 7:0. */
    public static final BitField DESTINATION_LOW = new BitField("dest8", 12, 8, always("DID", "destination, 8 bits"));

    /** Address bits 31:20, which are {@link #BASE} in the interrupt window. */
    public static final BitField BASE_ADDRESS = new BitField(
                    "base",
                    20,
                    12,
                    always("BASE", "interrupt window").expecting(BASE, "a write there is not an interrupt"))
            .ordinarily(BASE);

    /** Address bits 39:32, reserved. */
    public static final BitField RESERVED_32 =
            BitField.reserved("rsvd_32_39", 32, 8).ordinarily(0);

    /** Destination bits 31:8, which only a hypervisor reads. */
    public static final BitField DESTINATION_HIGH = new BitField("dest_8_31", 40, 24);

    /** The 32-bit destination, split over two address ranges, for VMs with 32-bit APIC ids. */
    public static final SplitField DESTINATION = new SplitField(
            "dest32",
            DESTINATION_LOW,
            DESTINATION_HIGH,
            always("DID", "destination where KVM_X2APIC_API_USE_32BIT_IDS is on"));

    /** The delivery mode. */
    public static final BitField MODE = new BitField("delivery_mode", 72, 3, DeliveryMode.description());

    /** The vector: a guest vector in a guest's message, otherwise a host vector. */
    public static final BitField VECTOR =
            new BitField("vector", 64, 8, DeliveryMode.deliverable(always("V", "vector"), MODE));

    private static final BitField RESERVED_75 =
            BitField.reserved("rsvd_75_77", 75, 3).ordinarily(0);

    /** Level: 1 asserts, 0 deasserts a level-triggered interrupt. */
    public static final BitField ASSERTED = BitField.bit(
            "level_assert",
            78,
            oneOf("L", "deassert", "assert: of no effect for edge").ordinarily(0));

    /** Trigger mode: 1 if the interrupt is level-triggered. */
    public static final BitField LEVEL = BitField.flag("is_level", 79, "TM", "edge", "level");

    private static final BitField RESERVED_80 =
            BitField.reserved("rsvd_80_95", 80, 16).ordinarily(0);

    /** The {@code kvmirq decode} format {@code msi.compat}. */
    public static final Format FORMAT = Format.builder("msi.compat", "MSI of compatibility format", 32, 3)
            .wordNames("address", "high address", "data")
            .fields(DESTINATION_LOW, DESTINATION, VECTOR, LOGICAL, HINT, MODE, LEVEL)
            .fields(ASSERTED, BASE_ADDRESS, EXTENDED, REMAPPABLE, IGNORED_0, RESERVED_32, RESERVED_75, RESERVED_80)
            .build();

    /**
     * The bit that selects the MSI format. Any value but {@code expected} is reported as violation {@code otherwise}.
     */
    public static BitField format(int expected, String otherwise) {
        Objects.requireNonNull(otherwise, "otherwise is null");
        return BitField.bit(
                "format",
                4,
                oneOf("IF", "compatibility format", "remappable format").expecting(expected, otherwise));
    }

    @Override
    public Format format() {
        return FORMAT;
    }

    @Override
    public long[] bits() {
        return new long[] {address, Integer.toUnsignedLong(data)};
    }

    /** The 32-bit destination, unsigned. A VM without 32-bit APIC ids uses only its low 8 bits. */
    public long destination() {
        return DESTINATION.of(address, address);
    }

    /** The vector. */
    public InterruptVector vector() {
        return new InterruptVector((int) VECTOR.of(data));
    }

    /** The delivery mode. */
    public DeliveryMode mode() {
        return DeliveryMode.of((int) MODE.of(data));
    }

    @Override
    public String toString() {
        return FORMAT.text(FORMAT.words(bits()));
    }
}
