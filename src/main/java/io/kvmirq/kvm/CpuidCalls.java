/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.KernelFacts;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Set;

/** KVM_GET_SUPPORTED_CPUID, a call on the KVM device. */
final class CpuidCalls extends Calls {
    CpuidCalls(Kernel kernel) {
        super(kernel);
    }

    /** @param most for how many leaves to make room */
    ByteBuffer supported(int most) {
        Fd device = kernel().device();
        if (facts(device).architecture() != KernelFacts.Architecture.X86_64) {
            throw new UnsupportedOperationException("no CPUID: only x86 has it, and this kernel is "
                    + facts(device).architecture().label() + ": initialise the vCPU");
        }
        ByteBuffer cpuid = Buffers.allocate(Uapi.KvmCpuid2.SIZE + most * Uapi.KvmCpuidEntry2.SIZE)
                .putInt(Uapi.KvmCpuid2.NENT, most);
        int result = on(device, kvm -> libc().ioctl(kvm, Uapi.KVM_GET_SUPPORTED_CPUID, cpuid));
        check(result, KernelCall.CPUID, Set.of(), device::toString);
        return cpuid;
    }
}
