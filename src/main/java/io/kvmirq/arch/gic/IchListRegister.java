/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import static io.kvmirq.arch.Description.always;
import static io.kvmirq.arch.Description.oneOf;
import static io.kvmirq.arch.Description.saying;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;
import java.util.Optional;

/**
 * The fields of a list register of a GICv3 and later, ICH_LR: see {@link ListRegister}.
 *
 * <p>Source: ARM IHI 0069, "ICH_LR&lt;n&gt;_EL2". Linux stores 10 bits of the physical id.
 */
public final class IchListRegister {
    private static final long SOURCE_OF_SGI = 7 << 10 | 0xf;
    private static final int FEWEST_PRIORITY_BITS = 5;

    /** HW: a hardware interrupt. Its end by the guest deactivates the physical interrupt. */
    public static final BitField HW = BitField.flag(
            "hw", 61, "HW", ListRegister.HW.meaning(new long[] {0}), ListRegister.HW.meaning(new long[] {-1}));

    /** vINTID: the interrupt that the guest sees. For a guest with a GICv2, bits 12:10 are the source of an SGI. */
    public static final BitField VIRTUAL_ID = new BitField(
            "vintid",
            0,
            32,
            saying("vINTID", (value, bits) -> text(value))
                    .forbidding(
                            value -> InterruptId.isNone(value) && !isSourcedSgi(value),
                            value -> "id " + value + " is special or reserved: expected 0–1019, 1056–1119,"
                                    + " 4096–5119 or an LPI from 8192"));

    private static final BitField LOW = middle("rsvd_32_40", 32, 9);

    /** EOI: the end of this software interrupt raises a maintenance interrupt. */
    public static final BitField EOI = BitField.bit(
            "eoi",
            41,
            oneOf("EOI", "no maintenance interrupt", "end raises a maintenance interrupt")
                    .ordinarily(0));

    private static final BitField HIGH = middle("rsvd_42_44", 42, 3);

    /** pINTID: the physical interrupt of a hardware interrupt, the bits around {@link #EOI}. */
    public static final BitField PHYSICAL_ID = new BitField(
            "pintid",
            32,
            13,
            saying("pINTID", (value, bits) -> InterruptId.text(value))
                    .forbidding(
                            value -> InterruptId.isSgi(value) || InterruptId.isNone(value),
                            value -> "id " + value
                                    + (InterruptId.isSgi(value) ? " is an SGI" : " is special or reserved")
                                    + ": expected a physical PPI or SPI, 16–1019, 1056–1119 or 4096–5119")
                    .derived());

    /** Priority, the lowest value first. */
    public static final BitField PRIORITY = new BitField(
            "priority", 48, 8, saying("Priority", (value, bits) -> "priority 0x" + Long.toHexString(value)));

    /** NMI: a non-maskable interrupt, with FEAT_GICv3_NMI; reserved without. */
    public static final BitField NMI = BitField.flag("nmi", 59, "NMI", "maskable", "non-maskable, with FEAT_GICv3_NMI")
            .ordinarily(0);

    /** Group: a group 1 interrupt. */
    public static final BitField GROUP1 = BitField.flag("group", 60, "Group", "group 0", "group 1");

    /** State: pending, active, both or neither. */
    public static final BitField STATE = new BitField(
            "state",
            62,
            2,
            oneOf("State", "inactive", "pending", "active", "pending and active")
                    .checked((value, bits) -> HW.isSet(bits[0]) && value == 3
                            ? Optional.of("pending and active while hw is 1: the distributor"
                                    + " keeps the pending state of a hardware interrupt, expected 0–2")
                            : Optional.empty()));

    private static final BitField LOW_RESERVED = BitField.reserved("rsvd_45_47", 45, 3);
    private static final BitField HIGH_RESERVED = BitField.reserved("rsvd_56_58", 56, 3);

    /** Kind {@code gic.ich_lr}. */
    public static final Format FORMAT = Format.builder("gic.ich_lr", "GICv3 list register, ICH_LR", 64, 1)
            .fields(VIRTUAL_ID)
            .fieldsIf(HW, 0, LOW, EOI, HIGH)
            .fieldsIf(HW, 1, PHYSICAL_ID)
            .fields(LOW_RESERVED.ordinarily(0), PRIORITY, HIGH_RESERVED.ordinarily(0))
            .fields(NMI, GROUP1, HW, STATE)
            .looked(bits -> STATE.isSet(bits[0])
                    || isSpent(bits[0])
                    || LOW_RESERVED.isSet(bits[0])
                    || HIGH_RESERVED.isSet(bits[0]))
            .remark(
                    bits -> isSpent(bits[0]),
                    "the guest ended the interrupt: EISR shows the register until software clears EOI, ELRSR does not")
            .remark(
                    bits -> STATE.of(bits[0]) > 1 && VIRTUAL_ID.of(bits[0]) >= InterruptId.FIRST_LPI,
                    "an LPI has no active state")
            .remark(
                    bits -> (PRIORITY.of(bits[0]) & (1 << Byte.SIZE - FEWEST_PRIORITY_BITS) - 1) != 0,
                    "a GIC with 5 priority bits ignores bits 2:0 of the priority")
            .build();

    private IchListRegister() {}

    private static boolean isSpent(long word) {
        return !STATE.isSet(word) && EOI.isSet(word) && !HW.isSet(word);
    }

    private static BitField middle(String name, int low, int width) {
        return new BitField(
                name,
                low,
                width,
                always("R", "reserved")
                        .forbidding(
                                value -> value != 0,
                                value -> "reserved bits " + (low + width - 1) + ":" + low + " are 0x"
                                        + Long.toHexString(value)
                                        + " and not 0: they are part of pintid only if hw is 1")
                        .ordinarily(0));
    }

    private static boolean isSourcedSgi(long id) {
        return (id & ~SOURCE_OF_SGI) == 0;
    }

    private static String text(long id) {
        if (InterruptId.isSgi(id) || !isSourcedSgi(id)) {
            return InterruptId.text(id);
        }
        String sgi = "SGI " + (id & 0xf) + " sent by CPU " + (id >>> 10) + ", if the guest has a GICv2";
        return InterruptId.isNone(id) ? sgi : InterruptId.text(id) + ", or " + sgi;
    }
}
