/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.gic.MachineControl;
import java.util.Arrays;
import java.util.Optional;

/**
 * The system registers of a GICv3's CPU interface that a VMM saves and restores. {@link #ICC_CTLR_EL1} shows two fields
 * of ICH_VMCR ({@link MachineControl#ICH}); a register that shows one field has it at bit 0. With 5 priority bits, a
 * group's register AP*R0 has all its active priorities; 6 bits need AP*R1 too, 7 bits also AP*R2 and AP*R3.
 *
 * <p>Source: ARM IHI 0069, "AArch64 System register descriptions"; {@code gic_v3_icc_reg_descs} in
 * arch/arm64/kvm/vgic-sys-reg-v3.c.
 */
public enum CpuInterfaceRegister {
    /** The priority mask. */
    ICC_PMR_EL1(4, 6, 0),
    /** The binary point of group 0, which selects the priority bits that decide about preemption. */
    ICC_BPR0_EL1(12, 8, 3),
    ICC_AP0R0_EL1(12, 8, 4),
    ICC_AP0R1_EL1(12, 8, 5),
    ICC_AP0R2_EL1(12, 8, 6),
    ICC_AP0R3_EL1(12, 8, 7),
    ICC_AP1R0_EL1(12, 9, 0),
    ICC_AP1R1_EL1(12, 9, 1),
    ICC_AP1R2_EL1(12, 9, 2),
    ICC_AP1R3_EL1(12, 9, 3),
    /** The binary point of group 1, which selects the priority bits that decide about preemption. */
    ICC_BPR1_EL1(12, 12, 3),
    /** The control bits and the features of the CPU interface. */
    ICC_CTLR_EL1(12, 12, 4),
    /** The bit that enables the system registers of the CPU interface. */
    ICC_SRE_EL1(12, 12, 5),
    ICC_IGRPEN0_EL1(12, 12, 6),
    ICC_IGRPEN1_EL1(12, 12, 7);

    private static final int OP0 = 3;

    private final int id;

    CpuInterfaceRegister(int crn, int crm, int op2) {
        id = OP0 << 14 | crn << 7 | crm << 3 | op2;
    }

    /** Returns the operands of MRS and MSR for the register: Op0, Op1, CRn, CRm and Op2, from bit 15 down. */
    public int id() {
        return id;
    }

    public static Optional<CpuInterfaceRegister> of(int id) {
        return Arrays.stream(values()).filter(register -> register.id == id).findFirst();
    }
}
