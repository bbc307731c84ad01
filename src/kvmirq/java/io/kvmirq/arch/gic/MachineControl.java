/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import static io.kvmirq.arch.Description.saying;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Description;
import io.kvmirq.arch.Format;

/**
 * Fields of GICH_VMCR and ICH_VMCR, through which the hypervisor reads and writes the guest's CPU interface settings.
 *
 * <p>Source: ARM IHI 0048, "GICH_VMCR"; ARM IHI 0069, "ICH_VMCR_EL2".
 */
public final class MachineControl {
    /** The enable bit of group 0. */
    public static final BitField GROUP0 = group("vmgrp0en", 0, "VMGrp0En", "group 0");
    /** The enable bit of group 1. */
    public static final BitField GROUP1 = group("vmgrp1en", 1, "VMGrp1En", "group 1");

    /** AckCtl: 1 if a read of IAR also acknowledges group 1 interrupts. */
    public static final BitField ACK_CONTROL = BitField.flag(
            "vmackctl",
            2,
            "VMAckCtl",
            "a read of IAR acknowledges group 0 only",
            "a read of IAR acknowledges both groups");

    private static final BitField FIQ =
            BitField.flag("vmfiqen", 3, "VMFIQEn", "group 0 signals IRQs", "group 0 signals FIQs");
    /** CBPR: 1 if group 1 uses the binary point of group 0, 0 if it uses its own. */
    public static final BitField COMMON = BitField.flag(
            "vmcbpr", 4, "VMCBPR", "each group has its binary point", "group 1 uses the binary point of group 0");

    private static final BitField LOW_RESERVED =
            BitField.reserved("rsvd_5_8", 5, 4).ordinarily(0);
    /** EOImode: 1 if an EOI only drops the priority, 0 if it also deactivates the interrupt. */
    public static final BitField END_MODE = BitField.flag(
            "vem", 9, "VEM", "an EOI drops the priority and deactivates", "an EOI drops the priority only");

    /** The mask of the bits at the same positions in GICv2's GICC_CTLR and GICH_VMCR. */
    public static final long CPU_CONTROL =
            GROUP0.mask() | GROUP1.mask() | ACK_CONTROL.mask() | FIQ.mask() | COMMON.mask() | END_MODE.mask();

    private static final BitField MIDDLE_RESERVED =
            BitField.reserved("rsvd_10_17", 10, 8).ordinarily(0);
    /** The binary point of group 1. */
    public static final BitField GROUP1_POINT = point("vmabp", 18, "VMABP", "group 1");
    /** The binary point of group 0. */
    public static final BitField GROUP0_POINT = point("vmbp", 21, "VMBP", "group 0");

    /** VMPriMask: bits 7:3 of a GICv2's priority mask. */
    public static final BitField MASK = new BitField("vmprimask", 27, 5, mask("VMPriMask", 3));

    /** The {@code kvmirq decode} format {@code gic.vmcr}. */
    public static final Format GICH = Format.builder("gic.vmcr", "GICv2 VM control, GICH_VMCR", 32, 1)
            .fields(GROUP0, GROUP1, ACK_CONTROL, FIQ, COMMON, LOW_RESERVED, END_MODE, MIDDLE_RESERVED)
            .fields(
                    GROUP1_POINT,
                    GROUP0_POINT,
                    BitField.reserved("rsvd_24_26", 24, 3).ordinarily(0))
            .fields(MASK)
            .remark(bits -> !MASK.isSet(bits[0]), "the priority mask is 0: no interrupt reaches the guest")
            .build();

    /** ICH_VMCR's VPMR, the priority mask. Interrupts with a lower priority value reach the guest. */
    public static final BitField ICH_MASK = new BitField("vpmr", 24, 8, mask("VPMR", 0));

    /** The {@code kvmirq decode} format {@code gic.ich_vmcr}. */
    public static final Format ICH = Format.builder("gic.ich_vmcr", "GICv3 VM control, ICH_VMCR", 64, 1)
            .fields(
                    group("veng0", 0, "VENG0", "group 0"),
                    group("veng1", 1, "VENG1", "group 1"),
                    renamed(ACK_CONTROL, "vackctl", "VAckCtl"),
                    renamed(FIQ, "vfiqen", "VFIQEn"),
                    renamed(COMMON, "vcbpr", "VCBPR"),
                    LOW_RESERVED,
                    renamed(END_MODE, "veoim", "VEOIM"),
                    MIDDLE_RESERVED,
                    point("vbpr1", 18, "VBPR1", "group 1"),
                    point("vbpr0", 21, "VBPR0", "group 0"),
                    ICH_MASK,
                    BitField.reserved("rsvd_32_63", 32, 32).ordinarily(0))
            .remark(bits -> !ICH_MASK.isSet(bits[0]), "the priority mask is 0: no interrupt reaches the guest")
            .build();

    private MachineControl() {}

    private static BitField group(String name, int bit, String label, String group) {
        return BitField.flag(name, bit, label, group + " disabled", group + " enabled");
    }

    /** A field of GICH_VMCR with its name in ICH_VMCR. */
    private static BitField renamed(BitField field, String name, String label) {
        return BitField.bit(name, field.low(), saying(label, field.description().meaning()));
    }

    private static BitField point(String name, int low, String label, String group) {
        return new BitField(name, low, 3, saying(label, (value, bits) -> "binary point " + value + " of " + group));
    }

    private static Description mask(String label, int shift) {
        return saying(
                label, (value, bits) -> "priorities below 0x" + Long.toHexString(value << shift) + " reach the guest");
    }
}
