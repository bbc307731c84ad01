/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/**
 * The x87 and SSE registers of a vCPU, and XCR0. This host has no other extended state. Guests of the fake do not use
 * it. Source: {@code fpu_copy_uabi_to_guest_fpstate()} in arch/x86/kernel/fpu/core.c, {@code copy_uabi_to_xstate()} in
 * xstate.c, {@code kvm_arch_vcpu_ioctl_set_fpu()} and {@code __kvm_set_xcr()} in arch/x86/kvm/x86.c.
 */
public final class ExtendedState {
    private static final long X87 = 1;
    private static final long SSE = 2;
    /** XCR0 of the host. */
    public static final long SUPPORTED = X87 | SSE;

    private static final int LEGACY = 512;
    private static final int MXCSR = 24;
    private static final int STACK = 32;
    private static final int VECTORS = 160;
    private static final int VECTORS_END = 416;
    /** The offset of the host's XCR0, which determines the layout of the area. */
    private static final int HOST_FEATURES = 464;

    private static final int FEATURES = LEGACY;
    private static final int COMPACTION = LEGACY + Long.BYTES;
    private static final int HEADER_END = LEGACY + 64;
    private static final int INITIAL_FCW = 0x37f;
    private static final int INITIAL_MXCSR = 0x1f80;
    private static final int MXCSR_MASK = 0xffff;
    private static final int XCRS = 16;

    /** The registers in the layout of FXSAVE. */
    private final ByteBuffer area = initial();

    /** XSTATE_BV, the parts that are not in their initial state. */
    private long features;

    private long xcr0 = X87;

    private static ByteBuffer initial() {
        return ByteBuffer.allocate(LEGACY)
                .order(ByteOrder.nativeOrder())
                .putShort(0, (short) INITIAL_FCW)
                .putInt(MXCSR, INITIAL_MXCSR)
                .putInt(MXCSR + Integer.BYTES, MXCSR_MASK);
    }

    // KVM_GET_FPU

    public void saveFpu(ByteBuffer to) {
        copy(area, STACK, to, Uapi.KvmFpu.FPR, VECTORS - STACK);
        copy(area, 0, to, Uapi.KvmFpu.FCW, 5);
        copy(area, 6, to, Uapi.KvmFpu.LAST_OPCODE, MXCSR - 6);
        copy(area, VECTORS, to, Uapi.KvmFpu.XMM, VECTORS_END - VECTORS);
    }

    public void loadFpu(ByteBuffer from) {
        copy(from, Uapi.KvmFpu.FPR, area, STACK, VECTORS - STACK);
        copy(from, Uapi.KvmFpu.FCW, area, 0, 5);
        copy(from, Uapi.KvmFpu.LAST_OPCODE, area, 6, MXCSR - 6);
        copy(from, Uapi.KvmFpu.XMM, area, VECTORS, VECTORS_END - VECTORS);
    }

    private static void copy(ByteBuffer from, int at, ByteBuffer to, int there, int length) {
        to.put(there, from, at, length);
    }

    // KVM_GET_XSAVE

    public void saveXsave(ByteBuffer to) {
        boolean x87 = (features & X87) != 0;
        boolean sse = (features & SSE) != 0;
        copy(x87 ? area : initial(), 0, to, 0, VECTORS);
        copy(sse ? area : initial(), MXCSR, to, MXCSR, Long.BYTES);
        copy(sse ? area : initial(), VECTORS, to, VECTORS, VECTORS_END - VECTORS);
        to.putLong(HOST_FEATURES, SUPPORTED).putLong(FEATURES, features);
    }

    /** The rule that refuses the area; empty for none. */
    public Optional<Answer> loadXsave(ByteBuffer from) {
        long next = from.getLong(FEATURES);
        if ((next & ~SUPPORTED) != 0) {
            return Optional.of(VmAnswer.XSAVE_FEATURES);
        }
        for (int at = COMPACTION; at < HEADER_END; at += Long.BYTES) {
            if (from.getLong(at) != 0) {
                return Optional.of(VmAnswer.XSAVE_HEADER);
            }
        }
        if (next != 0 && (from.getInt(MXCSR) & ~MXCSR_MASK) != 0) {
            return Optional.of(VmAnswer.XSAVE_MXCSR);
        }
        if ((next & X87) != 0) {
            copy(from, 0, area, 0, VECTORS);
        }
        if ((next & SSE) != 0) {
            copy(from, MXCSR, area, MXCSR, Long.BYTES);
            copy(from, VECTORS, area, VECTORS, VECTORS_END - VECTORS);
        }
        features = next;
        return Optional.empty();
    }

    // XCRs

    public void saveXcrs(ByteBuffer to) {
        to.putInt(Uapi.KvmXcrs.NR_XCRS, 1).putLong(Uapi.KvmXcrs.XCRS + Uapi.KvmXcr.VALUE, xcr0);
    }

    /** The rule that refuses the registers, if any; {@code offered} is XCR0 of the vCPU's CPUID. */
    public Optional<Answer> loadXcrs(ByteBuffer from, long offered) {
        int count = from.getInt(Uapi.KvmXcrs.NR_XCRS);
        if (Integer.compareUnsigned(count, XCRS) > 0 || from.getInt(Uapi.KvmXcrs.FLAGS) != 0) {
            return Optional.of(VmAnswer.XCRS_STRUCTURE);
        }
        for (int i = 0; i < count; i++) {
            int at = Uapi.KvmXcrs.XCRS + i * Uapi.KvmXcr.SIZE;
            if (from.getInt(at + Uapi.KvmXcr.XCR) == 0) {
                long next = from.getLong(at + Uapi.KvmXcr.VALUE);
                if ((next & X87) == 0 || (next & ~(offered & SUPPORTED | X87)) != 0) {
                    return Optional.of(VmAnswer.XCR_VALUE);
                }
                xcr0 = next;
                return Optional.empty();
            }
        }
        return Optional.empty();
    }
}
