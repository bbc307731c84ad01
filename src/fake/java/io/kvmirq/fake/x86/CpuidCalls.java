/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Build;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.x86.cpu.GuestCpuid;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * KVM_GET_SUPPORTED_CPUID, and KVM_SET_CPUID2 and KVM_GET_CPUID2 of a vCPU; source: {@code __do_cpuid_func()} and {@code
 * kvm_set_cpuid()} in arch/x86/kvm/cpuid.c.
 */
final class CpuidCalls {
    /** KVM_MAX_CPUID_ENTRIES. */
    private static final int MOST_LEAVES = 256;

    // Leaf 1
    private static final int TSC_MSR_APIC = 1 << 4 | 1 << 5 | 1 << 9;
    private static final int XSAVE = 1 << 26;
    private static final int DEADLINE_TIMER = 1 << 24;
    private static final int HYPERVISOR = 1 << 31;

    private static final int ARAT = 4;
    private static final int TSC_ADJUST = 2;
    /** The bytes of an XSAVE area with x87 and SSE. */
    private static final int XSAVE_SIZE = 576;

    private static final int KVM_FEATURES = 0x4000_0001;
    /** KVM_FEATURE_* 0, 1, 3 to 7, 9 to 14 and 24 of asm/kvm_para.h, the same since Linux 6.1. */
    private static final int FEATURES = 0x0100_7efb;

    private final KernelOfFile host;
    private final FakeCpu cpu;

    CpuidCalls(KernelOfFile host, FakeCpu cpu) {
        this.host = host;
        this.cpu = cpu;
    }

    /** The leaves of KVM_GET_SUPPORTED_CPUID that concern interrupts, timers, XSAVE and KVM. */
    static ByteBuffer supported(Build build) {
        // since Linux 6.14 (9be4ec35d668, "KVM: x86: Advertise TSC_DEADLINE_TIMER in KVM_GET_SUPPORTED_CPUID" and
        // 9aa470f5ddb2, "KVM: x86: Advertise HYPERVISOR in KVM_GET_SUPPORTED_CPUID")
        int advertised = build.isSince(6, 14) ? DEADLINE_TIMER | HYPERVISOR : 0;
        int xcr0 = (int) KeptState.XCR0_OF_HOST;
        int[][] leaves = {
            {1, 0, 0, GuestCpuid.unset().signature(), 0, GuestCpuid.X2APIC | XSAVE | advertised, TSC_MSR_APIC},
            {6, 0, 0, ARAT, 0, 0, 0},
            {7, 0, GuestCpuid.INDEXED, 0, TSC_ADJUST, 0, 0},
            {0xb, 0, GuestCpuid.INDEXED, 0, 0, 0, 0},
            {0xd, 0, GuestCpuid.INDEXED, xcr0, XSAVE_SIZE, XSAVE_SIZE, 0},
            {0x4000_0000, 0, 0, KVM_FEATURES, 0x4b4d_564b, 0x564b_4d56, 0x4d}, // KVMKVMKVM
            {KVM_FEATURES, 0, 0, FEATURES, 0, 0, 0}
        };
        ByteBuffer supported =
                ByteBuffer.allocate(leaves.length * Uapi.KvmCpuidEntry2.SIZE).order(ByteOrder.nativeOrder());
        for (int i = 0; i < leaves.length; i++) {
            supported.asIntBuffer().put(i * Uapi.KvmCpuidEntry2.SIZE / Integer.BYTES, leaves[i]);
        }
        return supported;
    }

    int set(ByteBuffer header, long address) {
        int count = header.getInt(Uapi.KvmCpuid2.NENT);
        if (Integer.compareUnsigned(count, MOST_LEAVES) > 0) {
            return host.refuse(VmAnswer.VCPU_CPUID_LEAVES);
        }
        return host.copied(address + Uapi.KvmCpuid2.SIZE, count * Uapi.KvmCpuidEntry2.SIZE, this::setLeaves);
    }

    private int setLeaves(ByteBuffer leaves) {
        GuestCpuid next = new GuestCpuid(leaves);
        if (cpu.hasEntered()) {
            host.note(VmAnswer.VCPU_CPUID_AFTER_RUN);
            if (host.build().pvm() && next.hasFeatures()) {
                throw new NotModelledException("KVM_SET_CPUID2 of leaf 1 after a run, which kvm_pvm compares with the"
                        + " leaf of the processor");
            }
            return next.isSameAs(cpu.cpuid()) ? 0 : host.refuse(VmAnswer.VCPU_CPUID_OTHER);
        }
        if (!next.hasKnownAddresses()) {
            return host.refuse(VmAnswer.VCPU_CPUID_ADDRESSES);
        }
        cpu.setCpuid(next);
        return 0;
    }

    int get(ByteBuffer header, long address) {
        ByteBuffer leaves = cpu.cpuid().leaves();
        int count = leaves.capacity() / Uapi.KvmCpuidEntry2.SIZE;
        if (Integer.compareUnsigned(header.getInt(Uapi.KvmCpuid2.NENT), count) < 0) {
            return host.refuse(SetupAnswer.CPUID_OF_VCPU_ROOM);
        }
        host.note(SetupAnswer.CPUID_KEPT);
        int copied = host.copyOut(address + Uapi.KvmCpuid2.SIZE, leaves, leaves.capacity());
        if (copied != 0) {
            return copied;
        }
        boolean counted = host.build().isSince(6, 5); // otherwise the caller's number stays
        int size = counted ? count : header.getInt(Uapi.KvmCpuid2.NENT);
        return host.copyOut(address, header.putInt(Uapi.KvmCpuid2.NENT, size), Uapi.KvmCpuid2.SIZE);
    }
}
