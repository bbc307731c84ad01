/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/**
 * The general registers of a vCPU of x86: a copy, from {@link Vcpu#registers} to {@link Vcpu#setRegisters}. Of no use to
 * two threads at once.
 *
 * <p>Source: {@code struct kvm_regs} in asm/kvm.h.
 */
public final class X86Registers {
    /** A register of 64 bits. */
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
        /** General. */
        R8(64),
        /** General. */
        R9(72),
        /** General. */
        R10(80),
        /** General. */
        R11(88),
        /** General. */
        R12(96),
        /** General. */
        R13(104),
        /** General. */
        R14(112),
        /** General. */
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

    final ByteBuffer structure = Buffers.allocate(Uapi.KvmRegs.SIZE);

    /** All 0, but for bit 1 of RFLAGS, which is always set. */
    public X86Registers() {
        set(Name.RFLAGS, 2);
    }

    /** The value of a register. */
    public long get(Name name) {
        return structure.getLong(name.offset);
    }

    /** Changes this copy. */
    public X86Registers set(Name name, long value) {
        structure.putLong(name.offset, value);
        return this;
    }

    @Override
    public String toString() {
        StringBuilder text = new StringBuilder();
        for (Name name : Name.values()) {
            text.append(text.isEmpty() ? "" : " ").append(name).append("=0x").append(Long.toHexString(get(name)));
        }
        return text.toString();
    }
}
