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
    /** A register, in the order of {@code struct kvm_regs}; 64 bits each. */
    public enum Name {
        /** Accumulator. */
        RAX,
        /** Base. */
        RBX,
        /** Counter. */
        RCX,
        /** Data. */
        RDX,
        /** Source index. */
        RSI,
        /** Destination index. */
        RDI,
        /** Stack pointer. */
        RSP,
        /** Frame pointer. */
        RBP,
        /** General. */
        R8,
        /** General. */
        R9,
        /** General. */
        R10,
        /** General. */
        R11,
        /** General. */
        R12,
        /** General. */
        R13,
        /** General. */
        R14,
        /** General. */
        R15,
        /** Instruction pointer. */
        RIP,
        /** Flags; bit 1 is always set. */
        RFLAGS
    }

    final ByteBuffer structure = Buffers.allocate(Uapi.KvmRegs.SIZE);

    /** All 0, but for bit 1 of RFLAGS, which is always set. */
    public X86Registers() {
        set(Name.RFLAGS, 2);
    }

    /** The value of a register. */
    public long get(Name name) {
        return structure.getLong(name.ordinal() * Long.BYTES);
    }

    /** Changes this copy. */
    public X86Registers set(Name name, long value) {
        structure.putLong(name.ordinal() * Long.BYTES, value);
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
