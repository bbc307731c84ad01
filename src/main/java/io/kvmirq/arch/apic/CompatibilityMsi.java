/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.Vector;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Meaning;
import io.kvmirq.arch.Violation;
import java.util.List;

/**
 * A message of compatibility format: what a device writes where no interrupts are remapped, and what a guest's route
 * holds. Three words of 32 bits: low address, high address, data.
 *
 * <p>Source: Intel SDM vol. 3, "Message Signalled Interrupts"; {@code struct x86_msi_addr_lo} and its neighbours in
 * arch/x86/include/asm/msi.h; {@code kvm_msi_to_lapic_irq} in arch/x86/kvm/irq.c.
 *
 * @param base 12 bits, 0xfee for an interrupt
 * @param destination APIC id, 32 bits: [7:0] is in the low address, [31:8] in the high, where only a hypervisor looks
 * @param extended destination bits 14:8 where a hypervisor offers it in the low address, 7 bits; else 0
 * @param remappable the low address says that this is of another format: see {@code RemappableMsi}
 * @param redirectionHint one of the CPUs of the destination, instead of all
 * @param logical the destination is a logical id, not a physical one
 * @param reserved0 2 bits, low address 1:0
 * @param reserved32 8 bits, high address 7:0
 * @param vector of the guest or the host
 * @param mode what becomes of it
 * @param reserved11 3 bits, data 13:11
 * @param asserted level of a level interrupt, data 14
 * @param level trigger mode, data 15: level, not edge
 * @param reserved16 16 bits, data 31:16
 */
public record CompatibilityMsi(
        int base,
        long destination,
        int extended,
        boolean remappable,
        boolean redirectionHint,
        boolean logical,
        int reserved0,
        int reserved32,
        Vector vector,
        DeliveryMode mode,
        int reserved11,
        boolean asserted,
        boolean level,
        int reserved16) {
    /** What the low address begins with, bits 31:20. */
    public static final int BASE = 0xfee;

    private static final BitField RESERVED_0 = new BitField("rsvd_0_1", 0, 2);
    private static final BitField LOGICAL = BitField.bit("dest_mode_logical", 2);
    private static final BitField HINT = BitField.bit("redirect_hint", 3);
    private static final BitField REMAPPABLE = BitField.bit("format", 4);
    private static final BitField EXTENDED = new BitField("virt_destid_8_14", 5, 7);
    private static final BitField DESTINATION_LOW = new BitField("dest8", 12, 8);
    /** Both parts in one, as nowhere in the message. */
    private static final BitField DESTINATION = new BitField("destination", 0, 32);

    private static final BitField BASE_ADDRESS = new BitField("base", 20, 12);
    private static final BitField RESERVED_32 = new BitField("rsvd_32_39", 32, 8);
    private static final BitField DESTINATION_HIGH = new BitField("dest_8_31", 40, 24);
    private static final BitField VECTOR = new BitField("vector", 64, 8);
    private static final BitField MODE = new BitField("delivery_mode", 72, 3);
    private static final BitField RESERVED_11 = new BitField("rsvd_75_77", 75, 3);
    private static final BitField ASSERTED = BitField.bit("level_assert", 78);
    private static final BitField LEVEL = BitField.bit("is_level", 79);
    private static final BitField RESERVED_16 = new BitField("rsvd_80_95", 80, 16);

    /** Kind {@code msi.compat}. */
    public static final Format FORMAT = Format.builder("msi.compat", "MSI of compatibility format", 32, 3)
            .wordNames("address", "high address", "data")
            .fields(
                    Field.of("DID", Meaning.always("destination, 8 bits"), DESTINATION_LOW),
                    Field.of(
                                    "DID",
                                    Meaning.always("destination where KVM_X2APIC_API_USE_32BIT_IDS is on"),
                                    DESTINATION_LOW,
                                    DESTINATION_HIGH)
                            .named("dest32"),
                    Field.of("V", Meaning.always("vector"), VECTOR),
                    Field.of("DM", Meaning.oneOf("physical", "logical"), LOGICAL),
                    Field.of("RH", Meaning.oneOf("all of the destination", "one of the destination"), HINT),
                    Field.of("DLM", DeliveryMode.meaning(), MODE),
                    Field.of("TM", Meaning.oneOf("edge", "level"), LEVEL),
                    Field.of("L", Meaning.oneOf("deassert", "assert: of no effect for edge"), ASSERTED)
                            .ordinarily(0),
                    Field.of("BASE", Meaning.always("interrupt window"), BASE_ADDRESS)
                            .ordinarily(BASE),
                    Field.of("XID", Meaning.always("destination 14:8 where a hypervisor offers it"), EXTENDED)
                            .ordinarily(0),
                    Field.of("IF", Meaning.oneOf("compatibility format", "remappable format"), REMAPPABLE)
                            .ordinarily(0),
                    Field.of("R", Meaning.always("ignored"), RESERVED_0).ordinarily(0),
                    Field.reserved(RESERVED_32).ordinarily(0),
                    Field.reserved(RESERVED_11).ordinarily(0),
                    Field.reserved(RESERVED_16).ordinarily(0))
            .rules(
                    MessageRules.base(BASE_ADDRESS),
                    MessageRules.format(REMAPPABLE, 0),
                    DeliveryMode.known(MODE),
                    DeliveryMode.deliverable(MODE, VECTOR))
            .build();

    /** @throws IllegalArgumentException if a field does not fit */
    public CompatibilityMsi {
        BASE_ADDRESS.with(base);
        DESTINATION.with(destination);
        EXTENDED.with(extended);
        RESERVED_0.with(reserved0);
        RESERVED_32.with(reserved32);
        RESERVED_11.with(reserved11);
        RESERVED_16.with(reserved16);
    }

    /**
     * Any bits are taken.
     *
     * @param address 64 bits, the high word above the low one
     * @param data 32 bits
     */
    public static CompatibilityMsi decode(long address, int data) {
        long second = Integer.toUnsignedLong(data);
        return new CompatibilityMsi(
                (int) BASE_ADDRESS.of(address),
                DESTINATION_HIGH.of(address) << 8 | DESTINATION_LOW.of(address),
                (int) EXTENDED.of(address),
                REMAPPABLE.isSet(address),
                HINT.isSet(address),
                LOGICAL.isSet(address),
                (int) RESERVED_0.of(address),
                (int) RESERVED_32.of(address),
                new Vector((int) VECTOR.of(second)),
                DeliveryMode.of((int) MODE.of(second)),
                (int) RESERVED_11.of(second),
                ASSERTED.isSet(second),
                LEVEL.isSet(second),
                (int) RESERVED_16.of(second));
    }

    /** The address, its high word above the low one. */
    public long address() {
        return BASE_ADDRESS.with(base)
                | DESTINATION_LOW.with(destination & DESTINATION_LOW.max())
                | DESTINATION_HIGH.with(destination >>> 8)
                | EXTENDED.with(extended)
                | REMAPPABLE.with(remappable ? 1 : 0)
                | HINT.with(redirectionHint ? 1 : 0)
                | LOGICAL.with(logical ? 1 : 0)
                | RESERVED_0.with(reserved0)
                | RESERVED_32.with(reserved32);
    }

    /** The data, 32 bits. */
    public int data() {
        return (int) (VECTOR.with(vector.number())
                | MODE.with(mode.number())
                | RESERVED_11.with(reserved11)
                | ASSERTED.with(asserted ? 1 : 0)
                | LEVEL.with(level ? 1 : 0)
                | RESERVED_16.with(reserved16));
    }

    /** What the manual forbids and is so. */
    public List<Violation> violations() {
        return FORMAT.violations(address(), Integer.toUnsignedLong(data()));
    }
}
