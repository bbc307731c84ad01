/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.uapi.Uapi;

/**
 * A copy of an x86 vCPU's debug registers, read by {@link X86Vcpu#debugRegisters} and written by {@link
 * X86Vcpu#setDebugRegisters}. Not thread-safe.
 *
 * <p>Source: {@code struct kvm_debugregs} in asm/kvm.h.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="debug"}
 */
public final class X86DebugRegisters extends X86Fields<X86DebugRegisters.Name, X86DebugRegisters> {
    /** A 64-bit register. */
    public enum Name {
        /** Address of breakpoint 0. */
        DR0(Uapi.KvmDebugregs.DB),
        /** Address of breakpoint 1. */
        DR1(Uapi.KvmDebugregs.DB + 8),
        /** Address of breakpoint 2. */
        DR2(Uapi.KvmDebugregs.DB + 16),
        /** Address of breakpoint 3. */
        DR3(Uapi.KvmDebugregs.DB + 24),
        /** The debug status register; 32 bits are used. */
        DR6(Uapi.KvmDebugregs.DR6),
        /** The debug control register; 32 bits are used. */
        DR7(Uapi.KvmDebugregs.DR7);

        private final int offset;

        Name(int offset) {
            this.offset = offset;
        }
    }

    X86DebugRegisters() {
        super(Uapi.KvmDebugregs.SIZE, Name.class, name -> name.offset, name -> Long.BYTES);
    }

    /** Copies saved {@link #bytes}. Throws IllegalArgumentException if the length is wrong. */
    public static X86DebugRegisters fromBytes(byte[] bytes) {
        return load(new X86DebugRegisters(), bytes);
    }
}
