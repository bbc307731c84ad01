/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import static io.kvmirq.uapi.Uapi.KvmDebugregs.DR6;
import static io.kvmirq.uapi.Uapi.KvmDebugregs.DR7;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Optional;
import java.util.function.BiConsumer;
import java.util.function.BiFunction;
import java.util.function.LongSupplier;

/**
 * The state of a vCPU that a VMM sets and gets, and that guests of the fake do not use: bytes in, bytes out. Besides x87
 * and SSE the host has no extended state. Source: {@code copy_uabi_to_xstate()} in arch/x86/kernel/fpu/xstate.c, {@code
 * kvm_arch_vcpu_ioctl()} and {@code __kvm_set_xcr()} in arch/x86/kvm/x86.c.
 */
final class KeptState {
    /** Two requests; {@code load} checks a structure in the kernel's order before it changes the state. */
    private record Row(
            long get,
            long set,
            BiConsumer<KeptState, ByteBuffer> save,
            BiFunction<KeptState, ByteBuffer, Optional<Answer>> load) {}

    private static final Row XSAVE =
            new Row(Uapi.KVM_GET_XSAVE, Uapi.KVM_SET_XSAVE, KeptState::saveXsave, KeptState::loadXsave);

    private static final List<Row> TABLE = List.of(
            new Row(Uapi.KVM_GET_FPU, Uapi.KVM_SET_FPU, KeptState::saveFpu, KeptState::loadFpu),
            XSAVE,
            new Row(Uapi.KVM_GET_XCRS, Uapi.KVM_SET_XCRS, KeptState::saveXcrs, KeptState::loadXcrs),
            new Row(Uapi.KVM_GET_DEBUGREGS, Uapi.KVM_SET_DEBUGREGS, KeptState::saveDebug, KeptState::loadDebug));

    private static final long X87 = 1;
    private static final long SSE = 2;
    /** XCR0 of the host. */
    static final long XCR0_OF_HOST = X87 | SSE;

    // Offsets in an area of XSAVE. Its first 512 bytes are an area of FXSAVE
    private static final int MXCSR = 24;
    private static final int STACK = 32;
    private static final int VECTORS = 160;
    private static final int VECTORS_END = 416;
    /** The offset of the host's XCR0, which determines the layout of the area. */
    private static final int HOST_FEATURES = 464;

    private static final int FEATURES = 512;
    private static final int COMPACTION = 520;
    private static final int HEADER_END = 576;

    private static final int MXCSR_MASK = 0xffff;
    private static final int MOST_XCRS = 16;
    private static final long DR6_INITIAL = 0xffff0ff0L;
    private static final long DR7_INITIAL = 0x400;
    /** L0 to G3 of DR7. */
    private static final long BREAKPOINTS = 0xff;

    private final KernelOfFile host;
    private final LongSupplier offered;
    private final ByteBuffer area = initialArea();
    /** XSTATE_BV, the parts that are not in their initial state. */
    private long features;

    private long xcr0 = X87;
    private final ByteBuffer debug =
            ByteBuffer.allocate(Uapi.KvmDebugregs.FLAGS).order(ByteOrder.nativeOrder());

    /** @param offered supplies the XCR0 bits of the vCPU's CPUID */
    KeptState(KernelOfFile host, LongSupplier offered) {
        this.host = host;
        this.offered = offered;
        reset();
    }

    /** Adds the requests of the table. */
    static Requests<X86VcpuFile> addTo(Requests<X86VcpuFile> requests) {
        for (Row row : TABLE) {
            requests.out(row.get, (vcpu, to) -> save(row, vcpu, to)).in(row.set, (vcpu, from) -> {
                KeptState kept = vcpu.kept();
                return kept.host.refuse(row.load.apply(kept, from));
            });
        }
        return requests.out(Uapi.KVM_GET_XSAVE2, (vcpu, to) -> save(XSAVE, vcpu, to));
    }

    private static int save(Row row, X86VcpuFile vcpu, ByteBuffer to) {
        row.save.accept(vcpu.kept(), to);
        return 0;
    }

    /** Resets the debug registers, as INIT does. */
    void reset() {
        debug.put(0, new byte[DR6]).putLong(DR6, DR6_INITIAL).putLong(DR7, DR7_INITIAL);
    }

    /** Checks the state before a run. */
    void checkModelled() {
        if ((debug.getLong(DR7) & BREAKPOINTS) != 0) {
            throw new NotModelledException("a guest with breakpoints");
        }
    }

    private static Optional<Answer> refuseIf(boolean refused, Answer answer) {
        return refused ? Optional.of(answer) : Optional.empty();
    }

    private void saveFpu(ByteBuffer to) {
        to.put(Uapi.KvmFpu.FPR, area, STACK, VECTORS - STACK)
                .put(Uapi.KvmFpu.FCW, area, 0, 5)
                .put(Uapi.KvmFpu.LAST_OPCODE, area, 6, MXCSR - 6)
                .put(Uapi.KvmFpu.XMM, area, VECTORS, VECTORS_END - VECTORS);
    }

    private Optional<Answer> loadFpu(ByteBuffer from) {
        host.note(VmAnswer.FPU_WITHOUT_MXCSR);
        area.put(STACK, from, Uapi.KvmFpu.FPR, VECTORS - STACK)
                .put(0, from, Uapi.KvmFpu.FCW, 5)
                .put(6, from, Uapi.KvmFpu.LAST_OPCODE, MXCSR - 6)
                .put(VECTORS, from, Uapi.KvmFpu.XMM, VECTORS_END - VECTORS);
        return Optional.empty();
    }

    private static ByteBuffer initialArea() {
        return ByteBuffer.allocate(FEATURES)
                .order(ByteOrder.nativeOrder())
                .putShort(0, (short) 0x37f)
                .putInt(MXCSR, 0x1f80)
                .putInt(MXCSR + Integer.BYTES, MXCSR_MASK);
    }

    /** Copies the registers of some parts; MXCSR is of SSE. */
    private static void copy(ByteBuffer from, ByteBuffer to, long parts) {
        if ((parts & X87) != 0) {
            to.put(0, from, 0, MXCSR).put(STACK, from, STACK, VECTORS - STACK);
        }
        if ((parts & SSE) != 0) {
            to.put(MXCSR, from, MXCSR, Long.BYTES).put(VECTORS, from, VECTORS, VECTORS_END - VECTORS);
        }
    }

    private void saveXsave(ByteBuffer to) {
        copy(initialArea(), to, XCR0_OF_HOST);
        copy(area, to, features);
        to.putLong(HOST_FEATURES, XCR0_OF_HOST).putLong(FEATURES, features);
    }

    private Optional<Answer> loadXsave(ByteBuffer from) {
        long next = from.getLong(FEATURES);
        boolean hasHeader =
                from.slice(COMPACTION, HEADER_END - COMPACTION).equals(ByteBuffer.allocate(HEADER_END - COMPACTION));
        Optional<Answer> refused = refuseIf((next & ~XCR0_OF_HOST) != 0, VmAnswer.XSAVE_FEATURES)
                .or(() -> refuseIf(!hasHeader, VmAnswer.XSAVE_HEADER))
                .or(() -> refuseIf(next != 0 && (from.getInt(MXCSR) & ~MXCSR_MASK) != 0, VmAnswer.XSAVE_MXCSR));
        if (refused.isEmpty()) {
            copy(from, area, next);
            features = next;
        }
        return refused;
    }

    private void saveXcrs(ByteBuffer to) {
        to.putInt(Uapi.KvmXcrs.NR_XCRS, 1).putLong(Uapi.KvmXcrs.XCRS + Uapi.KvmXcr.VALUE, xcr0);
    }

    /** Loads the first XCR0; there is no other XCR. */
    private Optional<Answer> loadXcrs(ByteBuffer from) {
        int count = from.getInt(Uapi.KvmXcrs.NR_XCRS);
        if (Integer.compareUnsigned(count, MOST_XCRS) > 0 || from.getInt(Uapi.KvmXcrs.FLAGS) != 0) {
            return Optional.of(VmAnswer.XCRS_STRUCTURE);
        }
        int at = Uapi.KvmXcrs.XCRS;
        int end = at + count * Uapi.KvmXcr.SIZE;
        while (at < end && from.getInt(at + Uapi.KvmXcr.XCR) != 0) {
            at += Uapi.KvmXcr.SIZE;
        }
        long next = at < end ? from.getLong(at + Uapi.KvmXcr.VALUE) : xcr0;
        boolean valid = at == end || (next & X87) != 0 && (next & ~(offered.getAsLong() & XCR0_OF_HOST | X87)) == 0;
        xcr0 = valid ? next : xcr0;
        return refuseIf(!valid, VmAnswer.XCR_VALUE);
    }

    private void saveDebug(ByteBuffer to) {
        to.put(0, debug, 0, debug.capacity());
    }

    private Optional<Answer> loadDebug(ByteBuffer from) {
        long values = from.getLong(DR6) | from.getLong(DR7);
        Optional<Answer> refused = refuseIf(from.getLong(Uapi.KvmDebugregs.FLAGS) != 0, VmAnswer.DEBUG_FLAGS)
                .or(() -> refuseIf(values >>> Integer.SIZE != 0, VmAnswer.DEBUG_HIGH));
        if (refused.isEmpty()) {
            debug.put(0, from, 0, debug.capacity());
        }
        return refused;
    }
}
