/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/**
 * A segment register with its descriptor.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="system"}
 *
 * @param base 64 bits
 * @param limit the segment's limit in bytes, an unsigned 32-bit number
 * @param selector 0–65535
 * @param access the access rights: bits 3:0 are the type, 4 is S, 6:5 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G; 16 is 1 if
 *     the segment is unusable. VMX uses the same layout (Intel SDM volume 3, "Format of access rights")
 */
public record X86Segment(long base, int limit, int selector, int access) {
    /** The {@link #access} of a 64-bit code segment. */
    public static final int CODE_64 = 0xa09b;

    /** The {@link #access} of a writable 32-bit data segment of 4 GiB. */
    public static final int DATA_32 = 0xc093;

    /** The {@link #access} of a busy 64-bit task state segment. */
    public static final int TASK_64 = 0x008b;

    private static final int LAST_SELECTOR = 0xffff;
    private static final int ACCESS = 0x1f0ff;
    private static final int TYPE = 0xf;
    private static final int DPL_AT = 5;

    /** A one-bit field of {@link #access}, and its byte in {@code struct kvm_segment}. */
    private enum Flag {
        S(4, Uapi.KvmSegment.S),
        P(7, Uapi.KvmSegment.PRESENT),
        AVL(12, Uapi.KvmSegment.AVL),
        L(13, Uapi.KvmSegment.L),
        DB(14, Uapi.KvmSegment.DB),
        G(15, Uapi.KvmSegment.G),
        UNUSABLE(16, Uapi.KvmSegment.UNUSABLE);

        private final int bit;
        private final int offset;

        Flag(int bit, int offset) {
            this.bit = bit;
            this.offset = offset;
        }
    }

    /** @throws IllegalArgumentException if {@code selector} exceeds 16 bits, or {@code access} has unknown bits */
    public X86Segment {
        if (selector < 0 || selector > LAST_SELECTOR) {
            throw new IllegalArgumentException("selector " + selector + ": expected 0 to " + LAST_SELECTOR);
        }
        if ((access & ~ACCESS) != 0) {
            throw new IllegalArgumentException("access 0x" + Integer.toHexString(access)
                    + " has bits that no segment has: expected those of 0x" + Integer.toHexString(ACCESS));
        }
    }

    static X86Segment read(ByteBuffer from, int at) {
        int access = from.get(at + Uapi.KvmSegment.TYPE) & TYPE | (from.get(at + Uapi.KvmSegment.DPL) & 3) << DPL_AT;
        for (Flag flag : Flag.values()) {
            access |= (from.get(at + flag.offset) & 1) << flag.bit;
        }
        return new X86Segment(
                from.getLong(at + Uapi.KvmSegment.BASE),
                from.getInt(at + Uapi.KvmSegment.LIMIT),
                from.getShort(at + Uapi.KvmSegment.SELECTOR) & LAST_SELECTOR,
                access);
    }

    void write(ByteBuffer to, int at) {
        to.putLong(at + Uapi.KvmSegment.BASE, base)
                .putInt(at + Uapi.KvmSegment.LIMIT, limit)
                .putShort(at + Uapi.KvmSegment.SELECTOR, (short) selector)
                .put(at + Uapi.KvmSegment.TYPE, (byte) (access & TYPE))
                .put(at + Uapi.KvmSegment.DPL, (byte) (access >>> DPL_AT & 3));
        for (Flag flag : Flag.values()) {
            to.put(at + flag.offset, (byte) (access >>> flag.bit & 1));
        }
    }
}
