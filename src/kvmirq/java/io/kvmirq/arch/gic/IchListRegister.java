/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import static io.kvmirq.arch.Description.saying;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;

/**
 * Fields of ICH_LR, the list register of GICv3 and later. See also {@link ListRegister}.
 *
 * <p>Source: ARM IHI 0069, "ICH_LR&lt;n&gt;_EL2". Linux writes only 10 bits of the physical id.
 */
public final class IchListRegister {
    private static final long SOURCE_OF_SGI = 7 << 10 | 0xf;
    private static final int FEWEST_PRIORITY_BITS = 5;

    /** HW: 1 for a hardware interrupt, for which the guest's EOI deactivates the physical interrupt. */
    public static final BitField HW = BitField.bit("hw", 61, ListRegister.HW.description());

    /** vINTID: the interrupt that the guest sees. For a GICv2 guest, bits 12:10 are an SGI's source. */
    public static final BitField VIRTUAL_ID = new BitField(
            "vintid",
            0,
            32,
            saying("vINTID", (value, bits) -> text(value))
                    .forbidding(
                            value -> InterruptId.isNone(value) && !isSourcedSgi(value),
                            value -> "id " + value + " is special or reserved: expected 0-1019, 1056-1119,"
                                    + " 4096-5119 or an LPI from 8192"));

    private static final BitField LOW = ListRegister.middle("rsvd_32_40", 32, 9, "pintid");

    /** EOI: 1 if the guest's EOI of the software interrupt raises a maintenance interrupt. */
    public static final BitField EOI = BitField.bit("eoi", 41, ListRegister.EOI.description());

    private static final BitField HIGH = ListRegister.middle("rsvd_42_44", 42, 3, "pintid");

    /** pINTID: the physical interrupt of a hardware interrupt. If HW is 0, bit 41 is {@link #EOI} instead. */
    public static final BitField PHYSICAL_ID = new BitField(
            "pintid",
            32,
            13,
            ListRegister.physical("pINTID", "special or reserved", "16-1019, 1056-1119 or 4096-5119"));

    /** Priority: the lowest value is the highest priority. */
    public static final BitField PRIORITY = new BitField(
            "priority", 48, 8, saying("Priority", (value, bits) -> "priority 0x" + Long.toHexString(value)));

    /** NMI: 1 if the interrupt is non-maskable. Reserved without FEAT_GICv3_NMI. */
    public static final BitField NMI = BitField.flag("nmi", 59, "NMI", "maskable", "non-maskable, with FEAT_GICv3_NMI")
            .ordinarily(0);

    /** Group: 1 if the interrupt is in group 1. */
    public static final BitField GROUP1 = BitField.flag("group", 60, "Group", "group 0", "group 1");

    /** State: pending, active, both or neither. */
    public static final BitField STATE = new BitField("state", 62, 2, ListRegister.state(HW));

    private static final BitField LOW_RESERVED = BitField.reserved("rsvd_45_47", 45, 3);
    private static final BitField HIGH_RESERVED = BitField.reserved("rsvd_56_58", 56, 3);

    /** The {@code kvmirq decode} format {@code gic.ich_lr}. */
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
            .remark(bits -> isSpent(bits[0]), ListRegister.SPENT)
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
