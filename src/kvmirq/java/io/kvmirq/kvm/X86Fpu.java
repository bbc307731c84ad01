/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.uapi.Uapi;

/**
 * A copy of an x86 vCPU's x87 and SSE registers, read by {@link X86Vcpu#fpu} and written by {@link X86Vcpu#setFpu}.
 * MXCSR is only in {@link X86Xsave}. Not thread-safe.
 *
 * <p>Source: {@code struct kvm_fpu} in asm/kvm.h.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="state"}
 */
public final class X86Fpu extends X86Fields<X86Fpu.Name, X86Fpu> {
    private static final int REGISTER = 16;
    private static final int STACK = 8;
    private static final int VECTORS = 16;

    /** An x87 control or status register. */
    public enum Name {
        /** x87 control word, 16 bits. */
        FCW(Uapi.KvmFpu.FCW, Short.BYTES),
        /** x87 status word, 16 bits. */
        FSW(Uapi.KvmFpu.FSW, Short.BYTES),
        /** The x87 tag word as FXSAVE stores it: 8 bits, each 1 if its register is in use. */
        FTW(Uapi.KvmFpu.FTWX, Byte.BYTES),
        /** The opcode of the last x87 instruction, 16 bits. */
        FOP(Uapi.KvmFpu.LAST_OPCODE, Short.BYTES),
        /** The address of the last x87 instruction. */
        FIP(Uapi.KvmFpu.LAST_IP, Long.BYTES),
        /** The address of the last x87 instruction's operand. */
        FDP(Uapi.KvmFpu.LAST_DP, Long.BYTES);

        private final int offset;
        private final int bytes;

        Name(int offset, int bytes) {
            this.offset = offset;
            this.bytes = bytes;
        }
    }

    X86Fpu() {
        super(Uapi.KvmFpu.SIZE, Name.class, name -> name.offset, name -> name.bytes);
    }

    /** Copies saved {@link #bytes}. Throws IllegalArgumentException if the length is wrong. */
    public static X86Fpu fromBytes(byte[] bytes) {
        return load(new X86Fpu(), bytes);
    }

    /** A copy of one of ST0 to ST7 as 16 bytes, of which the first ten are used. */
    public byte[] st(int number) {
        return register(Uapi.KvmFpu.FPR, "ST", number, STACK);
    }

    /** A copy of one of the registers XMM0 to XMM15 as 16 bytes, little-endian. */
    public byte[] xmm(int number) {
        return register(Uapi.KvmFpu.XMM, "XMM", number, VECTORS);
    }

    private byte[] register(int first, String name, int number, int count) {
        if (number < 0 || number >= count) {
            throw new IndexOutOfBoundsException(name + number + ": expected 0 to " + (count - 1));
        }
        return bytes(first + number * REGISTER, REGISTER);
    }
}
