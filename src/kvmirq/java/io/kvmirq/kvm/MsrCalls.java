/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.X86Msr;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/**
 * KVM_GET_MSRS and KVM_SET_MSRS, which stop at the first register that KVM refuses. Source: {@code __msr_io()} in
 * x86.c.
 */
final class MsrCalls {
    /** More is E2BIG. */
    private static final int MOST = 255;

    private static final String UNKNOWN = "neither KVM on this host nor the vCPU's CPUID has it";

    private final VcpuCalls calls;

    MsrCalls(VcpuCalls calls) {
        this.calls = calls;
    }

    X86Msrs get(X86Msrs wanted) {
        X86Msrs read = new X86Msrs();
        int total = wanted.numbers().size();
        for (int first = 0; first < total; first += MOST) {
            ByteBuffer some = wanted.structure(first, Math.min(MOST, total - first));
            int done = calls.ioctlAt(KernelCall.MSRS_GET, Uapi.KVM_GET_MSRS, some);
            if (done < some.getInt(Uapi.KvmMsrs.NMSRS)) {
                int number = X86Msrs.number(some, done);
                throw new MsrRefusedException(
                        number,
                        calls.fd() + ": MSR " + X86Msr.text(number) + " was not read: " + UNKNOWN
                                + "; ask for those of X86Msrs.ofHost, and set the CPUID first");
            }
            read.add(some);
        }
        return read;
    }

    void set(X86Msrs msrs) {
        int total = msrs.numbers().size();
        for (int first = 0; first < total; first += MOST) {
            ByteBuffer some = msrs.structure(first, Math.min(MOST, total - first));
            int done = calls.ioctlAt(KernelCall.MSRS_SET, Uapi.KVM_SET_MSRS, some);
            if (done < some.getInt(Uapi.KvmMsrs.NMSRS)) {
                int number = X86Msrs.number(some, done);
                throw new MsrRefusedException(
                        number,
                        calls.fd() + ": MSR " + X86Msr.text(number) + " = 0x"
                                + Long.toHexString(msrs.get(number)) + " was not written, " + (first + done)
                                + " before it were: " + refusal(number));
            }
        }
    }

    private String refusal(int number) {
        ByteBuffer one = new X86Msrs().set(number, 0).structure(0, 1);
        boolean known = calls.ioctlAt(KernelCall.MSRS_GET, Uapi.KVM_GET_MSRS, one) == 1;
        return known
                ? "it does not take this value (reserved bits, no canonical address, or it can only be read)"
                : UNKNOWN + "; set the CPUID first";
    }
}
