/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import java.util.Objects;

/**
 * A copy of an x86 vCPU's extended state (x87, SSE, AVX and more) in XSAVE's standard (not compacted) format, read by
 * {@link X86Vcpu#xsave} and written by {@link X86Vcpu#setXsave}. All of a VM's vCPUs have areas of the same size. Not
 * thread-safe.
 *
 * <p>Source: {@code struct kvm_xsave} in asm/kvm.h; Intel SDM volume 1, "XSAVE area".
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="state"}
 */
public final class X86Xsave extends X86State {
    /** The size of most areas in bytes; areas with AMX are longer. */
    static final int LEAST_BYTES = 4096;

    private static final int MXCSR = 24;
    private static final int FEATURES = 512;

    X86Xsave(int size) {
        super(size);
    }

    /** Copies a saved {@code area}. Throws IllegalArgumentException if the area has fewer than 4096 bytes. */
    public static X86Xsave fromBytes(byte[] area) {
        Objects.requireNonNull(area, "area is null");
        if (area.length < LEAST_BYTES) {
            throw new IllegalArgumentException("an XSAVE area of " + area.length + " bytes: expected " + LEAST_BYTES
                    + " or more, as X86Vcpu.xsave().bytes() returns");
        }
        return load(new X86Xsave(area.length), area);
    }

    /** The area's size in bytes, at least 4096. */
    public int size() {
        return structure.capacity();
    }

    /**
     * XSTATE_BV: a component's bit is 0 if the component is in its initial state. Bit 0 is x87, bit 1 SSE and bit 2
     * AVX, as in XCR0.
     */
    public long features() {
        return getLong(FEATURES);
    }

    /** Sets XSTATE_BV in this copy. A component whose bit is 0 gets its initial state, and its bytes are ignored. */
    public X86Xsave setFeatures(long features) {
        return putLong(FEATURES, features);
    }

    /** The SSE control and status register. */
    public int mxcsr() {
        return structure.getInt(MXCSR);
    }

    /** Sets MXCSR in this copy. */
    public X86Xsave setMxcsr(int value) {
        structure.putInt(MXCSR, value);
        return this;
    }

    /** The eight bytes at this offset of the area. CPUID leaf 0xd of the host lists each component's offset. */
    public long getLong(int offset) {
        return structure.getLong(offset);
    }

    /** Sets the eight bytes at this offset of the area. */
    public X86Xsave putLong(int offset, long value) {
        structure.putLong(offset, value);
        return this;
    }
}
