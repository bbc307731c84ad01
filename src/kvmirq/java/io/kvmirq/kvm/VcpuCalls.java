/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.Condition;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.uapi.Uapi;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.function.IntSupplier;

/**
 * vCPU ioctls, on every binding, and the page that the vCPU shares with the kernel.
 *
 * <p>Source: {@code kvm_vcpu_ioctl()} in virt/kvm/kvm_main.c, {@code struct kvm_run} in linux/kvm.h.
 */
final class VcpuCalls extends Calls {
    private static final int EINTR = -Errno.EINTR.number();
    private static final int EFAULT = -Errno.EFAULT.number();
    private static final int EHWPOISON = -Errno.EHWPOISON.number();
    private static final int EAGAIN = -Errno.EAGAIN.number();

    private final VmCalls vm;
    private final Fd fd;
    private final Mapping.Owner run;
    private final IntSupplier enterGuest;
    /** The descriptor's number, while it is in use. */
    private int raw;

    VcpuCalls(VmCalls vm, Fd fd) {
        super(vm.vm().kernel());
        this.vm = vm;
        this.fd = fd;
        vm.learn(Condition.VCPUS);
        this.enterGuest = () -> libc().ioctl(raw, Uapi.KVM_RUN, 0); // made once, not at each run
        this.run = page(fd, vm.runSize());
    }

    VmCalls vm() {
        return vm;
    }

    Fd fd() {
        return fd;
    }

    /** The page shared with the kernel: {@code struct kvm_run}. */
    Mapping page() {
        return run.mapping();
    }

    /** @return the result, 0 or more */
    int ioctl(KernelCall call, long request, ByteBuffer argument) {
        return ioctl(fd, call, request, argument);
    }

    int value(KernelCall call, long request, long argument) {
        return check(call(fd, raw -> libc().ioctl(raw, request, argument)), call, vm.known(), fd::toString);
    }

    /** Makes a request whose structure is longer than the size in the request number. */
    int ioctlAt(KernelCall call, long request, ByteBuffer argument) {
        try {
            int result = call(fd, number -> libc().ioctl(number, request, libc().addressOf(argument)));
            return check(result, call, vm.known(), fd::toString);
        } finally {
            Reference.reachabilityFence(argument);
        }
    }

    int ioctl(Fd file, KernelCall call, long request, ByteBuffer argument) {
        return check(call(file, raw -> libc().ioctl(raw, request, argument)), call, vm.known(), file::toString);
    }

    /**
     * Runs the vCPU until the guest exits, and returns the {@code KVM_EXIT_*} number. Repeats KVM_RUN after EAGAIN, as
     * when an application processor was started. {@code exit} completes the last read, and then receives the page's
     * first words.
     */
    int run(VcpuExit exit) {
        raw = begin(fd);
        try {
            exit.completeRead();
            long[] head = exit.head();
            int result;
            do {
                result = after(page(), enterGuest, head);
            } while (result == EAGAIN);
            if (result == EINTR) {
                return Uapi.KVM_EXIT_INTR;
            }
            int reason = (int) head[Uapi.KvmRun.EXIT_REASON / Long.BYTES];
            boolean isFault = result == EFAULT || result == EHWPOISON;
            if (!isFault || reason != Uapi.KVM_EXIT_MEMORY_FAULT) { // which returns an errno along with its data
                check(result, KernelCall.VCPU_RUN, vm.known(), fd::toString);
            }
            return reason;
        } finally {
            end(fd);
        }
    }

    /** @return false if the vCPU is closed */
    boolean setImmediateExit(boolean on) {
        return put(page(), Uapi.KvmRun.IMMEDIATE_EXIT, (byte) (on ? 1 : 0));
    }

    void requestInterruptWindow(boolean on) {
        if (!put(page(), Uapi.KvmRun.REQUEST_INTERRUPT_WINDOW, (byte) (on ? 1 : 0))) {
            throw new ClosedHandleException(fd.toString());
        }
    }

    void close() {
        run.close();
        close(fd);
    }

    VcpuState state() {
        ByteBuffer state = Buffers.allocate(Uapi.KvmMpState.SIZE);
        ioctl(KernelCall.VCPU_STATE, Uapi.KVM_GET_MP_STATE, state);
        return VcpuState.of(state.getInt(Uapi.KvmMpState.MP_STATE));
    }

    void setState(VcpuState next) {
        ByteBuffer state = Buffers.allocate(Uapi.KvmMpState.SIZE).putInt(Uapi.KvmMpState.MP_STATE, next.number());
        ioctl(KernelCall.VCPU_STATE, Uapi.KVM_SET_MP_STATE, state);
    }
}
