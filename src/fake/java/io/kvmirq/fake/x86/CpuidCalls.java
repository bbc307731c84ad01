/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.x86.cpu.GuestCpuid;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/** KVM_SET_CPUID2 and KVM_GET_CPUID2 of a vCPU; source: {@code kvm_set_cpuid()} in arch/x86/kvm/cpuid.c. */
final class CpuidCalls {
    /** KVM_MAX_CPUID_ENTRIES. */
    private static final int MOST_LEAVES = 256;

    private final KernelOfFile host;
    private final FakeCpu cpu;

    CpuidCalls(KernelOfFile host, FakeCpu cpu) {
        this.host = host;
        this.cpu = cpu;
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
        int told = counted ? count : header.getInt(Uapi.KvmCpuid2.NENT);
        return host.copyOut(address, header.putInt(Uapi.KvmCpuid2.NENT, told), Uapi.KvmCpuid2.SIZE);
    }
}
