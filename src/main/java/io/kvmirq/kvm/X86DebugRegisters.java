/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/**
 * The debug registers of a vCPU of x86: a copy, from {@link Vcpu#debugRegisters} to {@link Vcpu#setDebugRegisters}. Of no
 * use to two threads at once.
 *
 * <p>Source: {@code struct kvm_debugregs} in asm/kvm.h.
 */
public final class X86DebugRegisters {
    /** A register of 64 bits. */
    public enum Name {
        /** Address of breakpoint 0. */
        DR0(Uapi.KvmDebugregs.DB),
        /** Address of breakpoint 1. */
        DR1(Uapi.KvmDebugregs.DB + 8),
        /** Address of breakpoint 2. */
        DR2(Uapi.KvmDebugregs.DB + 16),
        /** Address of breakpoint 3. */
        DR3(Uapi.KvmDebugregs.DB + 24),
        /** State; 32 bits are used. */
        DR6(Uapi.KvmDebugregs.DR6),
        /** Control; 32 bits are used. */
        DR7(Uapi.KvmDebugregs.DR7);

        private final int offset;

        Name(int offset) {
            this.offset = offset;
        }
    }

    final ByteBuffer structure = Buffers.allocate(Uapi.KvmDebugregs.SIZE);

    X86DebugRegisters() {}

    /** The value of a register. */
    public long get(Name name) {
        return structure.getLong(name.offset);
    }

    /** Changes this copy. */
    public X86DebugRegisters set(Name name, long value) {
        structure.putLong(name.offset, value);
        return this;
    }
}
