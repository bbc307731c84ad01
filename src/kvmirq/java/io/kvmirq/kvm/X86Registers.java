/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.uapi.Uapi;

/**
 * A copy of an x86 vCPU's general registers, read by {@link X86Vcpu#registers} and written by {@link
 * X86Vcpu#setRegisters}. Not thread-safe.
 *
 * <p>Source: {@code struct kvm_regs} in asm/kvm.h.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="registers"}
 */
public final class X86Registers extends X86Fields<X86Registers.Name, X86Registers> {
    /** A 64-bit register. */
    public enum Name {
        /** Accumulator. */
        RAX(0),
        /** Base. */
        RBX(8),
        /** Counter. */
        RCX(16),
        /** Data. */
        RDX(24),
        /** Source index. */
        RSI(32),
        /** Destination index. */
        RDI(40),
        /** Stack pointer. */
        RSP(48),
        /** Frame pointer. */
        RBP(56),
        /** General register. */
        R8(64),
        /** General register. */
        R9(72),
        /** General register. */
        R10(80),
        /** General register. */
        R11(88),
        /** General register. */
        R12(96),
        /** General register. */
        R13(104),
        /** General register. */
        R14(112),
        /** General register. */
        R15(120),
        /** Instruction pointer. */
        RIP(128),
        /** Flags; bit 1 is always set. */
        RFLAGS(136);

        private final int offset;

        Name(int offset) {
            this.offset = offset;
        }
    }

    /** Makes registers that are all 0, except RFLAGS, whose bit 1 is always set. */
    public X86Registers() {
        super(Uapi.KvmRegs.SIZE, Name.class, name -> name.offset, name -> Long.BYTES);
        set(Name.RFLAGS, 2);
    }

    /** Copies saved {@link #bytes}. Throws IllegalArgumentException if the length is wrong. */
    public static X86Registers fromBytes(byte[] bytes) {
        return load(new X86Registers(), bytes);
    }

    /** Registers for a guest that starts in real mode with its segments at 0. */
    static X86Registers inRealMode(int instruction, int stack) {
        requireReal("instruction", instruction);
        requireReal("stack", stack);
        return new X86Registers().set(Name.RIP, instruction).set(Name.RSP, stack);
    }

    private static void requireReal(String register, int address) {
        if (address >>> Short.SIZE != 0) {
            throw new IllegalArgumentException(register + " 0x" + Integer.toHexString(address)
                    + " is beyond real mode with its segments at 0: expected 0 to 0xffff; for another mode use"
                    + " setSystemRegisters and setRegisters");
        }
    }
}
