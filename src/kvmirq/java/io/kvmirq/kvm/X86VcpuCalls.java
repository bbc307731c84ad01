/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/** The state of one vCPU of x86, read and set. Source: {@code kvm_arch_vcpu_ioctl()} in arch/x86/kvm/x86.c. */
record X86VcpuCalls(VcpuCalls calls, X86Lapic scratch) {
    X86VcpuCalls(VcpuCalls calls) {
        this(calls, new X86Lapic());
    }

    <S extends X86State> S get(KernelCall call, long request, S into) {
        calls.ioctl(call, request, into.structure);
        return into;
    }

    void set(KernelCall call, long request, X86State from) {
        calls.ioctl(call, request, from.structure);
    }

    X86Lapic lapic(X86Lapic into) {
        return get(KernelCall.LAPIC_GET, Uapi.KVM_GET_LAPIC, into);
    }

    /** Always the same object, for a look that allocates nothing; valid until the next. */
    X86Lapic lapicNow() {
        return lapic(scratch);
    }

    void setCpuid(Cpuid cpuid) {
        calls.ioctl(KernelCall.CPUID_SET, Uapi.KVM_SET_CPUID2, cpuid.structure());
    }

    int tscKilohertz() {
        return calls.value(KernelCall.TSC_RATE, Uapi.KVM_GET_TSC_KHZ, 0);
    }

    void setTscKilohertz(int kilohertz) {
        if (kilohertz < 0) {
            throw new IllegalArgumentException("a TSC of " + kilohertz
                    + " kHz is not possible: expected a positive rate, or 0 for that of the host");
        }
        calls.value(KernelCall.TSC_RATE, Uapi.KVM_SET_TSC_KHZ, kilohertz);
    }

    X86Xsave xsave() {
        int size = calls.vm().xsaveSize();
        X86Xsave xsave = new X86Xsave(Math.max(size, X86Xsave.LEAST));
        long request = size > X86Xsave.LEAST ? Uapi.KVM_GET_XSAVE2 : Uapi.KVM_GET_XSAVE;
        calls.ioctlAt(KernelCall.XSAVE_GET, request, xsave.structure);
        return xsave;
    }

    void setXsave(X86Xsave xsave) {
        int size = calls.vm().xsaveSize();
        if (xsave.size() < size) {
            throw new IllegalArgumentException(
                    "an XSAVE area of " + xsave.size() + " bytes: this VM's have " + size + ", as KVM_CAP_XSAVE2 says");
        }
        calls.ioctlAt(KernelCall.XSAVE_SET, Uapi.KVM_SET_XSAVE, xsave.structure);
    }

    long xcr0() {
        ByteBuffer xcrs = Buffers.allocate(Uapi.KvmXcrs.SIZE);
        calls.ioctl(KernelCall.XCRS_GET, Uapi.KVM_GET_XCRS, xcrs);
        return xcrs.getLong(Uapi.KvmXcrs.XCRS + Uapi.KvmXcr.VALUE);
    }

    void setXcr0(long value) {
        ByteBuffer xcrs = Buffers.allocate(Uapi.KvmXcrs.SIZE)
                .putInt(Uapi.KvmXcrs.NR_XCRS, 1)
                .putLong(Uapi.KvmXcrs.XCRS + Uapi.KvmXcr.VALUE, value);
        calls.ioctl(KernelCall.XCRS_SET, Uapi.KVM_SET_XCRS, xcrs);
    }
}
