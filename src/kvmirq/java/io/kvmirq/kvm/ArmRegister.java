/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.UapiArm64;
import io.kvmirq.uapi.UapiArm64.KvmArmRegs;
import java.nio.ByteBuffer;
import java.util.Map;

/**
 * An arm64 vCPU register, for {@link Arm64Vcpu#register} and {@link Arm64Vcpu#setRegister}. {@link Arm64Vcpu#registers}
 * lists the registers that a vCPU has.
 *
 * <p>Source: {@code KVM_REG_ARM64} in Documentation/virt/kvm/api.rst, "KVM_SET_ONE_REG".
 *
 * {@snippet class="io.kvmirq.snippets.ArmSnippetsTest" region="vcpu"}
 *
 * @param id the kernel's register id, which encodes architecture, size, kind and number
 */
public record ArmRegister(long id) {
    /** The stack pointer of EL0. */
    public static final ArmRegister SP = core(KvmArmRegs.SP);
    /** The program counter: the address of the guest's next instruction. */
    public static final ArmRegister PC = core(KvmArmRegs.PC);
    /** The vCPU's mode, interrupt masks and condition flags. The reset value is 0x3c5 (EL1h, all masked). */
    public static final ArmRegister PSTATE = core(KvmArmRegs.PSTATE);
    /** The stack pointer of EL1. */
    public static final ArmRegister SP_EL1 = core(KvmArmRegs.SP_EL1);
    /** The return address of an exception taken to EL1. */
    public static final ArmRegister ELR_EL1 = core(KvmArmRegs.ELR_EL1);
    /** The PSTATE that an ERET at EL1 restores. */
    public static final ArmRegister SPSR_EL1 = core(KvmArmRegs.SPSR);
    /** Floating-point status register; 32 bits. */
    public static final ArmRegister FPSR = core32(KvmArmRegs.FPSR);
    /** Floating-point control register; 32 bits. */
    public static final ArmRegister FPCR = core32(KvmArmRegs.FPCR);
    /** The vCPU's affinity, with Aff0 in bits 7:0, Aff1 in 15:8, Aff2 in 23:16 and Aff3 in 39:32. */
    public static final ArmRegister MPIDR_EL1 = system(3, 0, 0, 0, 5);
    /** EL1 system control register; bit 0 enables the MMU. */
    public static final ArmRegister SCTLR_EL1 = system(3, 0, 1, 0, 0);
    /** Controls whether floating-point and SVE instructions trap to EL1. */
    public static final ArmRegister CPACR_EL1 = system(3, 0, 1, 0, 2);
    /** The address of the page table for the lower virtual addresses. */
    public static final ArmRegister TTBR0_EL1 = system(3, 0, 2, 0, 0);
    /** The address of the page table for the upper virtual addresses. */
    public static final ArmRegister TTBR1_EL1 = system(3, 0, 2, 0, 1);
    /** EL1 translation control register. */
    public static final ArmRegister TCR_EL1 = system(3, 0, 2, 0, 2);
    /** Memory attributes, which page table entries select by index. */
    public static final ArmRegister MAIR_EL1 = system(3, 0, 10, 2, 0);
    /** The address of the exception vectors. */
    public static final ArmRegister VBAR_EL1 = system(3, 0, 12, 0, 0);

    private static final Map<ArmRegister, String> NAMES = Map.ofEntries(
            Map.entry(SP, "SP"),
            Map.entry(PC, "PC"),
            Map.entry(PSTATE, "PSTATE"),
            Map.entry(SP_EL1, "SP_EL1"),
            Map.entry(ELR_EL1, "ELR_EL1"),
            Map.entry(SPSR_EL1, "SPSR_EL1"),
            Map.entry(FPSR, "FPSR"),
            Map.entry(FPCR, "FPCR"),
            Map.entry(MPIDR_EL1, "MPIDR_EL1"),
            Map.entry(SCTLR_EL1, "SCTLR_EL1"),
            Map.entry(CPACR_EL1, "CPACR_EL1"),
            Map.entry(TTBR0_EL1, "TTBR0_EL1"),
            Map.entry(TTBR1_EL1, "TTBR1_EL1"),
            Map.entry(TCR_EL1, "TCR_EL1"),
            Map.entry(MAIR_EL1, "MAIR_EL1"),
            Map.entry(VBAR_EL1, "VBAR_EL1"));

    private static final int LAST_X = 30;
    private static final int LAST_V = 31;
    private static final int VECTOR_BYTES = 16;
    private static final int SIZE_MASK = 0xf;
    private static final int NUMBER = 0xffff;

    /** The fields of a system register's id, each with its lowest bit and number of values. */
    private enum Field {
        OP0(UapiArm64.KVM_REG_ARM64_SYSREG_OP0_SHIFT, 4),
        OP1(UapiArm64.KVM_REG_ARM64_SYSREG_OP1_SHIFT, 8),
        CRN(UapiArm64.KVM_REG_ARM64_SYSREG_CRN_SHIFT, 16),
        CRM(UapiArm64.KVM_REG_ARM64_SYSREG_CRM_SHIFT, 16),
        OP2(UapiArm64.KVM_REG_ARM64_SYSREG_OP2_SHIFT, 8);

        private final int shift;
        private final int values;

        Field(int shift, int values) {
            this.shift = shift;
            this.values = values;
        }

        private long in(int value) {
            if (value < 0 || value >= values) {
                throw new IllegalArgumentException(
                        name().toLowerCase(java.util.Locale.ROOT) + " " + value + ": expected 0 to " + (values - 1));
            }
            return (long) value << shift;
        }

        private long of(long id) {
            return id >>> shift & values - 1;
        }
    }

    private static ArmRegister core(int offset, long size) {
        return new ArmRegister(UapiArm64.KVM_REG_ARM64 | size | UapiArm64.KVM_REG_ARM_CORE | offset / Integer.BYTES);
    }

    private static ArmRegister core(int offset) {
        return core(offset, UapiArm64.KVM_REG_SIZE_U64);
    }

    private static ArmRegister core32(int offset) {
        return core(offset, UapiArm64.KVM_REG_SIZE_U32);
    }

    /** A general-purpose register, X0 to X30. */
    public static ArmRegister x(int number) {
        if (number < 0 || number > LAST_X) {
            throw new IllegalArgumentException("X" + number + " is not a register: expected X0 to X" + LAST_X);
        }
        return core(KvmArmRegs.REGS + number * Long.BYTES);
    }

    /** A 128-bit floating-point register, V0 to V31. A vCPU with SVE has Z registers instead. */
    public static ArmRegister v(int number) {
        if (number < 0 || number > LAST_V) {
            throw new IllegalArgumentException("V" + number + " is not a register: expected V0 to V" + LAST_V);
        }
        return core(KvmArmRegs.VREGS + number * VECTOR_BYTES, UapiArm64.KVM_REG_SIZE_U128);
    }

    /** A system register, identified by its MRS operands: op0 0–3, op1 0–7, CRn 0–15, CRm 0–15, op2 0–7. */
    public static ArmRegister system(int op0, int op1, int crn, int crm, int op2) {
        return new ArmRegister(UapiArm64.KVM_REG_ARM64
                | UapiArm64.KVM_REG_SIZE_U64
                | UapiArm64.KVM_REG_ARM64_SYSREG
                | Field.OP0.in(op0)
                | Field.OP1.in(op1)
                | Field.CRN.in(crn)
                | Field.CRM.in(crm)
                | Field.OP2.in(op2));
    }

    /** The register's size in bytes: 4, 8 or 16, or more for SVE registers. */
    public int size() {
        return 1 << (id >>> UapiArm64.KVM_REG_SIZE_SHIFT & SIZE_MASK);
    }

    /** The register's name, the MRS operands of an unnamed system register, or the id of any other register. */
    @Override
    public String toString() {
        String name = NAMES.get(this);
        if (name != null) {
            return name;
        }
        int kind = (int) id & UapiArm64.KVM_REG_ARM_COPROC_MASK;
        int at = ((int) id & NUMBER) * Integer.BYTES;
        if (kind == UapiArm64.KVM_REG_ARM_CORE && at < KvmArmRegs.SP && size() == Long.BYTES) {
            return "X" + at / Long.BYTES;
        }
        if (kind == UapiArm64.KVM_REG_ARM_CORE && at >= KvmArmRegs.VREGS && size() == VECTOR_BYTES) {
            return "V" + (at - KvmArmRegs.VREGS) / VECTOR_BYTES;
        }
        if (kind == UapiArm64.KVM_REG_ARM64_SYSREG) {
            return "S" + Field.OP0.of(id) + "_" + Field.OP1.of(id) + "_C" + Field.CRN.of(id) + "_C" + Field.CRM.of(id)
                    + "_" + Field.OP2.of(id);
        }
        return "register 0x" + Long.toHexString(id);
    }

    void requireSmall() {
        if (size() > Long.BYTES) {
            throw new IllegalArgumentException(
                    this + " has " + size() + " bytes: use armRegisterBytes and setArmRegisterBytes");
        }
    }

    /** Encodes a value for the kernel. The value must fit the register as a signed or an unsigned number. */
    ByteBuffer encode(long value) {
        requireSmall();
        int unused = Long.SIZE - size() * Byte.SIZE;
        if (value << unused >>> unused != value && value << unused >> unused != value) {
            throw new IllegalArgumentException(
                    "0x" + Long.toHexString(value) + " does not fit into " + this + ", which has " + size() + " bytes");
        }
        return Buffers.allocate(Long.BYTES).putLong(0, value);
    }

    ByteBuffer encode(byte[] bytes) {
        if (bytes.length != size()) {
            throw new IllegalArgumentException(bytes.length + " bytes for " + this + ": expected " + size());
        }
        return Buffers.allocate(bytes.length).put(0, bytes);
    }
}
