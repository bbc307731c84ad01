/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The segment and control registers of a vCPU: {@code struct kvm_sregs} without CR8, LAPIC base and pending interrupt.
 * A VMM may set any mode, but the fake's guests run in real mode. Source: {@code kvm_is_valid_sregs()} in
 * arch/x86/kvm/x86.c.
 */
public final class SystemRegisters {
    public static final int CODE = 0;
    static final int DATA = 1;
    static final int EXTRA = 2;
    static final int FS = 3;
    static final int GS = 4;
    static final int STACK = 5;

    private static final int SEGMENT = 24;
    private static final int SEGMENTS = 8;
    private static final int LIMIT = 8;
    private static final int SELECTOR = 12;
    private static final int TYPE = 14;
    private static final int PRESENT = 15;
    private static final int DESCRIPTOR = 18;
    private static final int LONG_CODE = 19;
    private static final int TASK = 6;
    private static final int LOCAL = 7;
    private static final int GDT = 192;
    private static final int IDT = 208;
    private static final int CR0 = 224;
    private static final int CR3 = 240;
    private static final int CR4 = 248;
    private static final int EFER = 264;
    private static final int END = 280;

    private static final long PROTECTED = 1;
    private static final long PAGING = 1L << 31;
    private static final long CACHE_OFF = 1 << 30;
    private static final long NOT_WRITE_THROUGH = 1 << 29;
    private static final long EXTENSION_TYPE = 1 << 4;
    /** MP, EM, TS, NE, WP, AM, which do not affect guests of the fake. */
    private static final long HARMLESS = 0xe | 1 << 5 | 1 << 16 | 1 << 18;

    private static final long LONG_MODE = 1 << 8;
    private static final long LONG_MODE_ACTIVE = 1 << 10;
    /** The first bit of CR4 that some processors lack, and the first that all of 6.1 to 7.2 lack. */
    private static final int FEATURES = 11;

    private static final int FEATURES_END = 33;
    private static final long PHYSICAL_ADDRESS_EXTENSION = 1 << 5;
    /** The mask of a table limit, two bytes; the padding is not stored. */
    private static final long TABLE_LIMIT = 0xffff;

    private static final int REAL_MODE_TABLE = 0x3ff;

    /** The field with which no guest runs; null if guests run. */
    private @Nullable String unmodelled;

    private final ByteBuffer values = ByteBuffer.allocate(Uapi.KvmSregs.SIZE).order(ByteOrder.nativeOrder());

    public SystemRegisters() {
        reset();
        values.putLong(CR0, CACHE_OFF | NOT_WRITE_THROUGH | EXTENSION_TYPE);
    }

    /** Sets the values that INIT sets; the cache bits of CR0 are kept. */
    public void reset() {
        unmodelled = null;
        long caches = values.getLong(CR0) & (CACHE_OFF | NOT_WRITE_THROUGH);
        values.put(0, new byte[END]);
        for (int segment = 0; segment < SEGMENTS; segment++) {
            int at = segment * SEGMENT;
            values.putInt(at + LIMIT, 0xffff).put(at + TYPE, (byte) 3).put(at + PRESENT, (byte) 1);
            values.put(at + DESCRIPTOR, (byte) (segment < TASK ? 1 : 0));
        }
        values.put(CODE + TYPE, (byte) 0xb)
                .put(TASK * SEGMENT + TYPE, (byte) 0xb)
                .put(LOCAL * SEGMENT + TYPE, (byte) 2)
                .putShort(GDT + Long.BYTES, (short) 0xffff)
                .putShort(IDT + Long.BYTES, (short) 0xffff)
                .putLong(CR0, caches | EXTENSION_TYPE)
                .putLong(Uapi.KvmSregs.CS_BASE, 0xffff0000L)
                .putShort(Uapi.KvmSregs.CS_SELECTOR, (short) 0xf000);
    }

    public void save(ByteBuffer to) {
        to.put(0, values, 0, END);
    }

    /** Returns the rule that refuses {@code next} because registers contradict one another or the CPUID; else empty. */
    public static Optional<Answer> refuses(ByteBuffer next, GuestCpuid cpuid) {
        long cr0 = next.getLong(CR0);
        long efer = next.getLong(EFER);
        boolean invalid;
        boolean wide = (efer & LONG_MODE) != 0 && (cr0 & PAGING) != 0;
        if (wide) {
            invalid = (next.getLong(CR4) & PHYSICAL_ADDRESS_EXTENSION) == 0 || (efer & LONG_MODE_ACTIVE) == 0;
        } else {
            invalid = (efer & LONG_MODE_ACTIVE) != 0 || next.get(LONG_CODE) != 0;
        }
        invalid |= cr0 >>> Integer.SIZE != 0
                || (cr0 & (NOT_WRITE_THROUGH | CACHE_OFF)) == NOT_WRITE_THROUGH
                || (cr0 & (PAGING | PROTECTED)) == PAGING;
        if (invalid) {
            return Optional.of(VmAnswer.SREGS_CONTRADICT);
        }
        int bits = cpuid.addressBits();
        if (wide && bits < Long.SIZE && next.getLong(CR3) >>> bits != 0) {
            return Optional.of(VmAnswer.SREGS_CR3);
        }
        if (next.getLong(CR4) >>> FEATURES_END != 0) {
            return Optional.of(VmAnswer.SREGS_CR4);
        }
        if (next.getLong(CR4) >>> FEATURES != 0) {
            throw new NotModelledException(
                    "CR4 0x" + Long.toHexString(next.getLong(CR4)) + ": a CPUID decides about bits from 11 on");
        }
        return Optional.empty();
    }

    /** Throws {@link NotModelledException} if the fake does not model a register's value; called before a run. */
    public void checkModelled() {
        if (unmodelled != null) {
            throw new NotModelledException(unmodelled);
        }
    }

    /** Register fields that real mode does not use; null for none. */
    private static @Nullable String unmodelled(ByteBuffer next) {
        for (int segment = 0; segment < SEGMENTS; segment++) {
            if (!isOfRealMode(next, segment)) {
                return "a guest with a segment that real mode does not have";
            }
        }
        long cr0 = next.getLong(CR0);
        if ((cr0 & ~(HARMLESS | CACHE_OFF | NOT_WRITE_THROUGH)) != EXTENSION_TYPE
                || next.getLong(CR4) != 0
                || next.getLong(EFER) != 0) {
            return "a guest with CR0, CR4 or EFER of another mode than real mode";
        }
        return next.getLong(CR3) >>> Integer.SIZE != 0 || next.getLong(IDT) >>> Integer.SIZE != 0
                ? "a guest with CR3 or the table of vectors above 4 GiB"
                : null;
    }

    private static boolean isOfRealMode(ByteBuffer next, int segment) {
        int at = segment * SEGMENT;
        int type = segment == CODE || segment == TASK ? 0xb : segment == LOCAL ? 2 : 3;
        boolean plain = true;
        for (int i = PRESENT + 1; i < SEGMENT - 1; i++) {
            plain &= next.get(at + i) == (i == DESCRIPTOR && segment < TASK ? 1 : 0);
        }
        return plain
                && next.getLong(at) >>> Integer.SIZE == 0
                && next.getInt(at + LIMIT) == 0xffff
                && next.get(at + TYPE) == type
                && next.get(at + PRESENT) == 1;
    }

    public void load(ByteBuffer next) {
        values.put(0, next, 0, END);
        for (int table : new int[] {GDT, IDT}) {
            values.putLong(table + Long.BYTES, next.getLong(table + Long.BYTES) & TABLE_LIMIT);
        }
        unmodelled = unmodelled(values);
    }

    long address(int segment, int offset) {
        return values.getLong(segment * SEGMENT) + offset & 0xffff_ffffL;
    }

    int selector(int segment) {
        return Short.toUnsignedInt(values.getShort(segment * SEGMENT + SELECTOR));
    }

    public void select(int segment, int selector) {
        values.putShort(segment * SEGMENT + SELECTOR, (short) selector).putLong(segment * SEGMENT, selector * 16L);
    }

    /** The address of a vector's entry. */
    long entry(int vector) {
        if (Short.toUnsignedInt(values.getShort(IDT + Long.BYTES)) < REAL_MODE_TABLE) {
            throw new NotModelledException("a short table of vectors");
        }
        return values.getLong(IDT) + vector * 4L & 0xffff_ffffL;
    }

    /** Whether CS and RIP are at the reset vector. */
    public boolean isAtReset() {
        return selector(CODE) == 0xf000
                && values.getLong(Uapi.KvmSregs.CS_BASE) == 0xffff0000L
                && (values.getLong(CR0) & PROTECTED) == 0;
    }
}
