/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.KernelFacts;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/** CPUID leaves and MSRs that KVM supports on an x86 host, read from {@code /dev/kvm}. */
final class SupportedCpu {
    /** Linux 7.1 lists fewer MSRs. Retrying with a longer list would delay a JVM's first snapshot. */
    private static final int MSRS_OF_FIRST_CALL = 1024;

    private SupportedCpu() {}

    /** @param max the number of leaves to allocate */
    static ByteBuffer cpuid(Kernel kernel, int max) {
        ByteBuffer cpuid = Buffers.allocate(Uapi.KvmCpuid2.SIZE + max * Uapi.KvmCpuidEntry2.SIZE)
                .putInt(Uapi.KvmCpuid2.NENT, max);
        device(kernel, "no CPUID").ioctl(Uapi.KVM_GET_SUPPORTED_CPUID, cpuid);
        return cpuid;
    }

    /** The indices of the MSRs to save. If the buffer is too short, KVM returns E2BIG and their number. */
    static ByteBuffer msrs(Kernel kernel) {
        Fd device = device(kernel, "no MSR");
        int room = MSRS_OF_FIRST_CALL;
        while (true) {
            ByteBuffer list = Buffers.allocate(Uapi.KvmMsrList.SIZE + room * Integer.BYTES)
                    .putInt(Uapi.KvmMsrList.NMSRS, room);
            try {
                device.ioctl(Uapi.KVM_GET_MSR_INDEX_LIST, list);
                return list;
            } catch (KernelException e) {
                int count = list.getInt(Uapi.KvmMsrList.NMSRS);
                if (!e.errno().equals(Errno.E2BIG) || count <= room) {
                    throw e;
                }
                room = count;
            }
        }
    }

    private static Fd device(Kernel kernel, String missing) {
        KernelFacts.Architecture architecture = kernel.facts().architecture();
        if (architecture != KernelFacts.Architecture.X86_64) {
            throw new UnsupportedOperationException(missing + ": only x86 has it, and this kernel is "
                    + architecture.label() + ": initialize the vCPU");
        }
        return kernel.device();
    }
}
