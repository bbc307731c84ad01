/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import static io.kvmirq.arch.Description.always;
import static io.kvmirq.arch.Description.oneOf;
import static io.kvmirq.arch.Description.saying;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Description;
import io.kvmirq.arch.Format;
import java.util.Optional;

/**
 * Fields of a GICv2 list register, GICH_LR, which contains an interrupt for a guest.
 *
 * <p>HW selects the meaning of bits 19:10: the physical interrupt, or an SGI's source and the EOI request. {@link
 * #FORMAT} decodes and encodes only the fields that HW selects.
 *
 * <p>Source: ARM IHI 0048, "GICH_LRn".
 */
public final class ListRegister {
    /** HW: 1 for a hardware interrupt, for which the guest's EOI deactivates the physical interrupt. */
    public static final BitField HW = BitField.flag(
            "hw",
            31,
            "HW",
            "software: the guest's EOI deactivates nothing",
            "hardware: the guest's EOI deactivates the physical interrupt");

    /** VirtualID: the interrupt that the guest sees. */
    public static final BitField VIRTUAL_ID = new BitField(
            "virtualid",
            0,
            10,
            saying("VirtualID", (value, bits) -> InterruptId.text(value))
                    .forbidding(
                            InterruptId::isNone,
                            value -> "id " + value + " is special: expected an interrupt, 0-1019"));

    /** CPUID: the vCPU that sent an SGI, if HW is 0. */
    public static final BitField SOURCE = new BitField(
            "cpuid",
            10,
            3,
            saying("CPUID", (value, bits) -> isSgi(bits) ? "sent by CPU " + value : "not an SGI: no source")
                    .checked((value, bits) -> value == 0 || isSgi(bits)
                            ? Optional.empty()
                            : Optional.of("source CPU " + value + " of " + InterruptId.text(VIRTUAL_ID.of(bits[0]))
                                    + ": only an SGI has a source"))
                    .ordinarily(0));

    private static final BitField MIDDLE = middle("rsvd_13_18", 13, 6, "physicalid");

    /** EOI: 1 if the guest's EOI of the software interrupt raises a maintenance interrupt. */
    public static final BitField EOI = BitField.bit(
            "eoi",
            19,
            oneOf("EOI", "no maintenance interrupt", "EOI raises a maintenance interrupt")
                    .ordinarily(0));

    /** PhysicalID: a hardware interrupt's physical interrupt, in the bits from {@link #SOURCE} to {@link #EOI}. */
    public static final BitField PHYSICAL_ID =
            new BitField("physicalid", 10, 10, physical("PhysicalID", "special", "16-1019"));

    /** Priority bits 7:3: the lowest value is the highest priority. */
    public static final BitField PRIORITY = new BitField(
            "priority", 23, 5, saying("Priority", (value, bits) -> "priority 0x" + Long.toHexString(value << 3)));

    /** State: pending, active, both or neither. If neither, the list register is empty. */
    public static final BitField STATE = new BitField("state", 28, 2, state(HW));

    /** The pending bit of {@link #STATE}. */
    public static final BitField PENDING = new BitField("pending", 28, 1);

    /** The active bit of {@link #STATE}. */
    public static final BitField ACTIVE = new BitField("active", 29, 1);

    /** Grp1: 1 if the interrupt is in group 1. */
    public static final BitField GROUP1 = BitField.flag("grp1", 30, "Grp1", "group 0", "group 1");

    private static final BitField RESERVED = BitField.reserved("rsvd_20_22", 20, 3);

    static final String SPENT =
            "the guest ended the interrupt: EISR shows the register until software clears EOI, ELRSR does not";

    /** The {@code kvmirq decode} format {@code gic.lr}. */
    public static final Format FORMAT = Format.builder("gic.lr", "GICv2 list register, GICH_LR", 32, 1)
            .fields(VIRTUAL_ID)
            .fieldsIf(HW, 0, SOURCE, MIDDLE, EOI)
            .fieldsIf(HW, 1, PHYSICAL_ID)
            .fields(RESERVED.ordinarily(0))
            .fields(PRIORITY, STATE, GROUP1, HW)
            .looked(bits -> STATE.isSet(bits[0]) || isSpent(bits[0]) || RESERVED.isSet(bits[0]))
            .remark(bits -> isSpent(bits[0]), SPENT)
            .build();

    private ListRegister() {}

    static BitField middle(String name, int low, int width, String physical) {
        return new BitField(
                name,
                low,
                width,
                always("R", "reserved")
                        .forbidding(
                                value -> value != 0,
                                value -> "reserved bits " + (low + width - 1) + ":" + low + " are 0x"
                                        + Long.toHexString(value) + " and not 0: they are part of " + physical
                                        + " only if hw is 1")
                        .ordinarily(0));
    }

    static Description state(BitField hw) {
        return oneOf("State", "inactive", "pending", "active", "pending and active")
                .checked((value, bits) -> hw.isSet(bits[0]) && value == 3
                        ? Optional.of("pending and active while hw is 1: the distributor"
                                + " keeps the pending state of a hardware interrupt, expected 0-2")
                        : Optional.empty());
    }

    static Description physical(String label, String none, String expected) {
        return saying(label, (value, bits) -> InterruptId.text(value))
                .forbidding(
                        value -> InterruptId.isSgi(value) || InterruptId.isNone(value),
                        value -> "id " + value + " is " + (InterruptId.isSgi(value) ? "an SGI" : none)
                                + ": expected a physical PPI or SPI, " + expected)
                .derived();
    }

    private static boolean isSgi(long[] bits) {
        return InterruptId.isSgi(VIRTUAL_ID.of(bits[0]));
    }

    /**
     * Whether the list register's EISR bit is set: its software interrupt had {@link #EOI} set, and the guest has
     * written the EOI.
     */
    public static boolean isSpent(long word) {
        return !STATE.isSet(word) && EOI.isSet(word) && !HW.isSet(word);
    }

    /** Whether the list register's ELRSR bit is set: the register is empty and its EISR bit is clear. */
    public static boolean isEmpty(long word) {
        return !STATE.isSet(word) && (HW.isSet(word) || !EOI.isSet(word));
    }
}
