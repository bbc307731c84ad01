/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import io.kvmirq.uapi.Uapi.KvmCpuidEntry2;
import java.nio.ByteBuffer;

/**
 * The kernel's changes to CPUID leaves that a VMM set, each a {@code struct kvm_cpuid_entry2}. Source: {@code
 * kvm_update_cpuid_runtime()} and {@code kvm_cpuid_check_equal()} in arch/x86/kvm/cpuid.c; {@link #withMachine} was
 * measured.
 */
public final class CpuidLeaves {
    static final int FEATURES = 1;
    private static final int EXTENDED_FEATURES = 7;
    static final int XSAVE = 0xd;

    private static final int SIGNIFICANT_INDEX = 1;

    private static final int LAPIC_ON = 9;
    private static final int OSXSAVE = 27;
    private static final int OSPKE = 4;
    /** XSAVES and XSAVEC, in EAX of leaf 0xd, index 1. */
    private static final int COMPACTS = 1 << 3 | 1 << 1;
    /** The size of an XSAVE area for x87 and SSE. */
    private static final int AREA = 576;

    /** Leaf 1 of a processor without AVX, as guests of kvm_pvm read it. */
    private static final int MACHINE_ECX = 0x46d8_0203;

    /** XCR0 of the host. */
    private static final int X87_AND_SSE = 3;

    private static final int MACHINE_EDX = 0x178b_fbff;
    /** EAX of leaf 0xd, index 1: XSAVEOPT, XSAVEC and XGETBV. */
    private static final int MACHINE_XSAVE = 7;

    private CpuidLeaves() {}

    /** @return the offset of the first entry of the leaf; -1 for none */
    static int find(ByteBuffer leaves, int function, int index) {
        for (int at = 0; at < leaves.capacity(); at += KvmCpuidEntry2.SIZE) {
            boolean fits = !isIndexed(leaves, at) || leaves.getInt(at + KvmCpuidEntry2.INDEX) == index;
            if (leaves.getInt(at) == function && fits) {
                return at;
            }
        }
        return -1;
    }

    private static boolean isIndexed(ByteBuffer leaves, int at) {
        return (leaves.getInt(at + KvmCpuidEntry2.FLAGS) & SIGNIFICANT_INDEX) != 0;
    }

    private static ByteBuffer copy(ByteBuffer leaves, int more) {
        return ByteBuffer.allocate(leaves.capacity() + more * KvmCpuidEntry2.SIZE)
                .order(leaves.order())
                .put(0, leaves, 0, leaves.capacity());
    }

    /** The leaves, with the bits that depend on the vCPU's state. */
    public static ByteBuffer current(ByteBuffer leaves, SystemRegisters system, boolean lapicOn) {
        ByteBuffer next = copy(leaves, 0);
        int features = find(next, FEATURES, 0);
        if (features >= 0) {
            set(next, features + KvmCpuidEntry2.ECX, OSXSAVE, system.savesExtendedState());
            set(next, features + KvmCpuidEntry2.EDX, LAPIC_ON, lapicOn);
        }
        int extended = find(next, EXTENDED_FEATURES, 0);
        if (extended >= 0) {
            set(next, extended + KvmCpuidEntry2.ECX, OSPKE, system.hasProtectionKeys());
        }
        int whole = find(next, XSAVE, 0);
        if (whole >= 0) {
            next.putInt(whole + KvmCpuidEntry2.EBX, AREA);
        }
        int compact = find(next, XSAVE, 1);
        if (compact >= 0 && (next.getInt(compact + KvmCpuidEntry2.EAX) & COMPACTS) != 0) {
            next.putInt(compact + KvmCpuidEntry2.EBX, AREA);
        }
        return next;
    }

    private static void set(ByteBuffer leaves, int at, int bit, boolean on) {
        leaves.putInt(at, leaves.getInt(at) & ~(1 << bit) | (on ? 1 : 0) << bit);
    }

    /** Whether two lists of leaves are equal, apart from padding. */
    public static boolean areEqual(ByteBuffer one, ByteBuffer other) {
        boolean equal = one.capacity() == other.capacity();
        for (int at = 0; equal && at < one.capacity(); at += KvmCpuidEntry2.SIZE) {
            int end = KvmCpuidEntry2.EDX + Integer.BYTES;
            equal = one.slice(at, end).equals(other.slice(at, end));
        }
        return equal;
    }

    /** The leaves that guests of kvm_pvm read: machine features, none of leaf 7, XCR0 with x87 and SSE. */
    public static ByteBuffer withMachine(ByteBuffer leaves) {
        int features = find(leaves, FEATURES, 0);
        boolean hasXsave = false;
        for (int at = 0; at < leaves.capacity(); at += KvmCpuidEntry2.SIZE) {
            hasXsave |= leaves.getInt(at) == XSAVE;
        }
        boolean adds = features >= 0 && !hasXsave;
        ByteBuffer next = copy(leaves, adds ? 2 : 0);
        if (features >= 0) {
            int ecx = features + KvmCpuidEntry2.ECX;
            int edx = features + KvmCpuidEntry2.EDX;
            next.putInt(ecx, next.getInt(ecx) | MACHINE_ECX).putInt(edx, next.getInt(edx) | MACHINE_EDX);
        }
        for (int i = 0; adds && i < 2; i++) {
            next.putInt(leaves.capacity() + i * KvmCpuidEntry2.SIZE, XSAVE)
                    .putInt(leaves.capacity() + i * KvmCpuidEntry2.SIZE + KvmCpuidEntry2.INDEX, i)
                    .putInt(leaves.capacity() + i * KvmCpuidEntry2.SIZE + KvmCpuidEntry2.FLAGS, SIGNIFICANT_INDEX);
        }
        for (int at = 0; at < next.capacity(); at += KvmCpuidEntry2.SIZE) {
            if (next.getInt(at) == XSAVE) {
                putXsave(next, at);
            }
        }
        return next;
    }

    /** Sets XSAVE sizes; 0 for an entry without significant index, as the kernel finds no index 0xffffffff. */
    private static void putXsave(ByteBuffer leaves, int at) {
        int index = isIndexed(leaves, at) ? leaves.getInt(at + KvmCpuidEntry2.INDEX) : -1;
        int xcr0 = X87_AND_SSE;
        leaves.putInt(at + KvmCpuidEntry2.EAX, index == 0 ? xcr0 : index == 1 ? MACHINE_XSAVE : 0)
                .putInt(at + KvmCpuidEntry2.EBX, 0)
                .putInt(at + KvmCpuidEntry2.ECX, index == 0 ? AREA : 0)
                .putInt(at + KvmCpuidEntry2.EDX, 0);
    }
}
