/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.arch.BitField;
import io.kvmirq.arch.gic.MachineControl;
import io.kvmirq.arch.gic.model.CpuInterfaceRegister;
import io.kvmirq.arch.gic.model.RegisterFields;
import java.util.OptionalLong;

/**
 * The CPU interface of a vCPU: system registers that the VMM saves and restores, and the interrupts that they mask. KVM
 * keeps the guest's control fields in ICH_VMCR. As in the lab, the host has 5 priority bits and 24-bit INTIDs. Active
 * priorities are stored and mask nothing. Source: arch/arm64/kvm/vgic-sys-reg-v3.c; {@code vgic_v3_enable()} in
 * vgic-v3.c.
 */
final class CpuInterface {
    private static final int PRIORITIES = 0xf8;

    private static final long OF_HOST = RegisterFields.ICC_CTLR_LEVEL3.mask();
    private static final long COMPARED_FIELDS =
            RegisterFields.ICC_CTLR_SERRORS.mask() | RegisterFields.ICC_CTLR_LEVEL3.mask();

    /** ICC_CTLR_EL1 without the fields that are in ICH_VMCR. */
    private long type = OF_HOST
            | RegisterFields.ICC_CTLR_PRIORITY_BITS.with(Integer.bitCount(PRIORITIES) - 1)
            | RegisterFields.ICC_CTLR_ID_BITS.with(1);

    /** ICH_VMCR. */
    private long control;

    private int active0;
    private int active1;

    /** Whether group 1 is enabled and a priority, 0–255, is not masked. */
    boolean passes(int priority) {
        return MachineControl.GROUP1.isSet(control)
                && (priority & PRIORITIES) < (MachineControl.ICH_MASK.of(control) & PRIORITIES);
    }

    /** Reads a register; empty if the host lacks it. */
    OptionalLong read(CpuInterfaceRegister register) {
        return switch (register) {
            case ICC_PMR_EL1 -> field(MachineControl.ICH_MASK);
            case ICC_BPR0_EL1 -> field(MachineControl.GROUP0_POINT);
            case ICC_BPR1_EL1 ->
                isCommon()
                        ? OptionalLong.of(Math.min(
                                MachineControl.GROUP0_POINT.of(control) + 1, MachineControl.GROUP1_POINT.max()))
                        : field(MachineControl.GROUP1_POINT);
            case ICC_IGRPEN0_EL1 -> field(MachineControl.GROUP0);
            case ICC_IGRPEN1_EL1 -> field(MachineControl.GROUP1);
            case ICC_CTLR_EL1 ->
                OptionalLong.of(type
                        | RegisterFields.ICC_CTLR_COMMON.with(MachineControl.COMMON.of(control))
                        | RegisterFields.ICC_CTLR_END_MODE.with(MachineControl.END_MODE.of(control)));
            case ICC_SRE_EL1 -> OptionalLong.of(RegisterFields.ICC_SRE_FIXED);
            case ICC_AP0R0_EL1 -> OptionalLong.of(Integer.toUnsignedLong(active0));
            case ICC_AP1R0_EL1 -> OptionalLong.of(Integer.toUnsignedLong(active1));
            case ICC_AP0R1_EL1, ICC_AP0R2_EL1, ICC_AP0R3_EL1, ICC_AP1R1_EL1, ICC_AP1R2_EL1, ICC_AP1R3_EL1 ->
                OptionalLong.empty();
        };
    }

    private OptionalLong field(BitField field) {
        return OptionalLong.of(field.of(control));
    }

    private boolean isCommon() {
        return MachineControl.COMMON.isSet(control);
    }

    /** Writes a register. @return whether the host has the register and supports the value */
    boolean write(CpuInterfaceRegister register, long value) {
        return switch (register) {
            case ICC_PMR_EL1 -> put(MachineControl.ICH_MASK, value);
            case ICC_BPR0_EL1 -> put(MachineControl.GROUP0_POINT, value);
            case ICC_BPR1_EL1 -> isCommon() || put(MachineControl.GROUP1_POINT, value);
            case ICC_IGRPEN0_EL1 -> put(MachineControl.GROUP0, value);
            case ICC_IGRPEN1_EL1 -> put(MachineControl.GROUP1, value);
            case ICC_CTLR_EL1 ->
                lower(RegisterFields.ICC_CTLR_PRIORITY_BITS, value)
                        && lower(RegisterFields.ICC_CTLR_ID_BITS, value)
                        && ((value ^ type) & COMPARED_FIELDS) == 0
                        && put(MachineControl.COMMON, RegisterFields.ICC_CTLR_COMMON.of(value))
                        && put(MachineControl.END_MODE, RegisterFields.ICC_CTLR_END_MODE.of(value));
            case ICC_SRE_EL1 -> RegisterFields.ICC_SRE_ENABLED.isSet(value);
            case ICC_AP0R0_EL1 -> {
                active0 = (int) value;
                yield true;
            }
            case ICC_AP1R0_EL1 -> {
                active1 = (int) value;
                yield true;
            }
            case ICC_AP0R1_EL1, ICC_AP0R2_EL1, ICC_AP0R3_EL1, ICC_AP1R1_EL1, ICC_AP1R2_EL1, ICC_AP1R3_EL1 -> false;
        };
    }

    private boolean put(BitField field, long value) {
        control = field.put(control, value & field.max());
        return true;
    }

    /** Stores a field of ICC_CTLR_EL1 that cannot increase, even if a later field of the value is refused. */
    private boolean lower(BitField field, long value) {
        boolean fits = field.of(value) <= field.of(type);
        if (fits) {
            type = field.put(type, field.of(value));
        }
        return fits;
    }
}
