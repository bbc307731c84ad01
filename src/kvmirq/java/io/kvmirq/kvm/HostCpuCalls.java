/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.KernelFacts;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Set;

/** CPUID leaves and MSRs that KVM supports on an x86 host: calls on the KVM device. */
final class HostCpuCalls extends Calls {
    private static final int E2BIG = -Errno.E2BIG.number();

    HostCpuCalls(Kernel kernel) {
        super(kernel);
    }

    /** @param most the number of leaves to allocate */
    ByteBuffer supported(int most) {
        Fd device = device("no CPUID");
        ByteBuffer cpuid = Buffers.allocate(Uapi.KvmCpuid2.SIZE + most * Uapi.KvmCpuidEntry2.SIZE)
                .putInt(Uapi.KvmCpuid2.NENT, most);
        int result = on(device, kvm -> libc().ioctl(kvm, Uapi.KVM_GET_SUPPORTED_CPUID, cpuid));
        check(result, KernelCall.CPUID, Set.of(), device::toString);
        return cpuid;
    }

    /** The indices of the MSRs to save. A first call with too short a buffer returns their number (E2BIG). */
    ByteBuffer msrs() {
        Fd device = device("no MSR");
        int room = 0;
        while (true) {
            ByteBuffer list = Buffers.allocate(Uapi.KvmMsrList.SIZE + room * Integer.BYTES)
                    .putInt(Uapi.KvmMsrList.NMSRS, room);
            int result = on(device, kvm -> libc().ioctl(kvm, Uapi.KVM_GET_MSR_INDEX_LIST, list));
            int count = list.getInt(Uapi.KvmMsrList.NMSRS);
            if (result != E2BIG || count <= room) {
                check(result, KernelCall.MSR_LIST, Set.of(), device::toString);
                return list;
            }
            room = count;
        }
    }

    private Fd device(String missing) {
        Fd device = kernel().device();
        if (facts(device).architecture() != KernelFacts.Architecture.X86_64) {
            throw new UnsupportedOperationException(missing + ": only x86 has it, and this kernel is "
                    + facts(device).architecture().label() + ": initialise the vCPU");
        }
        return device;
    }
}
