/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.Errno;
import io.kvmirq.VcpuId;
import io.kvmirq.Vector;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.CurrentThread;
import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;

/**
 * A vCPU's descriptor and the page it shares with the kernel, through the raw door (x86).
 *
 * <p>The kernel serialises a vCPU's calls on one mutex; {@code io.kvmirq.kvm.Vcpu} keeps them to one thread. Source:
 * {@code kvm_vcpu_ioctl()} in virt/kvm/kvm_main.c, {@code struct kvm_run} in linux/kvm.h.
 */
public final class VcpuFile implements AutoCloseable {
    private static final int MAX_CPUID_ENTRIES = 256;

    private final Calls calls;
    private final Fd fd;
    private final Mapping run;

    /** @throws io.kvmirq.KernelException EINVAL for an id beyond the limit; EEXIST for one that exists */
    public VcpuFile(Fd vm, VcpuId id) {
        CurrentThread.requirePlatform("Vm.createVcpu");
        this.calls = vm.kernel().calls();
        this.fd = calls.createVcpu(vm, id);
        try {
            int size = calls.ioctl(vm.kernel().device(), Uapi.KVM_GET_VCPU_MMAP_SIZE, 0, "vcpu mmap size");
            this.run = Mapping.of(fd, size);
        } catch (RuntimeException e) {
            fd.close();
            throw e;
        }
    }

    /** Shows the guest the CPUID the kernel supports. */
    public void useHostCpuid() {
        ByteBuffer cpuid = Buffers.allocate(Uapi.KvmCpuid2.SIZE + MAX_CPUID_ENTRIES * Uapi.KvmCpuid2.ENTRY_SIZE)
                .putInt(Uapi.KvmCpuid2.NENT, MAX_CPUID_ENTRIES);
        calls.ioctl(fd.kernel().device(), Uapi.KVM_GET_SUPPORTED_CPUID, cpuid, "supported cpuid get");
        calls.ioctl(fd, Uapi.KVM_SET_CPUID2, cpuid, "cpuid set");
    }

    /** Makes the guest begin in real mode, code segment at 0, interrupts off. */
    public void startAt(int instruction, int stack) {
        ByteBuffer segments = Buffers.allocate(Uapi.KvmSregs.SIZE);
        calls.ioctl(fd, Uapi.KVM_GET_SREGS, segments, "sregs get");
        segments.putLong(Uapi.KvmSregs.CS_BASE, 0).putShort(Uapi.KvmSregs.CS_SELECTOR, (short) 0);
        calls.ioctl(fd, Uapi.KVM_SET_SREGS, segments, "sregs set");
        ByteBuffer registers = Buffers.allocate(Uapi.KvmRegs.SIZE)
                .putLong(Uapi.KvmRegs.RIP, instruction)
                .putLong(Uapi.KvmRegs.RSP, stack)
                .putLong(Uapi.KvmRegs.RFLAGS, 2);
        calls.ioctl(fd, Uapi.KVM_SET_REGS, registers, "regs set");
    }

    /**
     * Runs the guest until it exits; blocks.
     *
     * @return the {@code KVM_EXIT_*} number; {@code KVM_EXIT_INTR} when a signal came
     * @throws io.kvmirq.KernelException EIO from another process; EFAULT when the guest's memory is gone
     */
    public int run() {
        return run.during(() -> {
            int result = calls.ioctlResult(fd, Uapi.KVM_RUN, 0);
            if (result == -Errno.EINTR.number()) {
                return Uapi.KVM_EXIT_INTR;
            }
            calls.check(result, "vcpu run", fd::toString);
            return run.getInt(Uapi.KvmRun.EXIT_REASON);
        });
    }

    /** After an exit for I/O: the port. */
    public int ioPort() {
        return run.getShort(Uapi.KvmRun.IO_PORT) & 0xffff;
    }

    /** After an exit for I/O: whether the guest wrote. */
    public boolean ioWrite() {
        return run.getByte(Uapi.KvmRun.IO_DIRECTION) == Uapi.KVM_EXIT_IO_OUT;
    }

    /** Sets the LAPIC's software-enable bit (SVR bit 8), as a guest's first act would. */
    public void enableLapic() {
        ByteBuffer lapic = lapic();
        lapic.putInt(Uapi.KvmLapicState.SVR, lapic.getInt(Uapi.KvmLapicState.SVR) | Uapi.KvmLapicState.SVR_ENABLE);
        calls.ioctl(fd, Uapi.KVM_SET_LAPIC, lapic, "lapic set");
    }

    /** Whether {@code vector} waits in the LAPIC's interrupt request register. */
    public boolean isRequested(Vector vector) {
        int word = Uapi.KvmLapicState.IRR + vector.number() / 32 * 16;
        return (lapic().getInt(word) >>> vector.number() % 32 & 1) == 1;
    }

    private ByteBuffer lapic() {
        ByteBuffer lapic = Buffers.allocate(Uapi.KvmLapicState.SIZE);
        calls.ioctl(fd, Uapi.KVM_GET_LAPIC, lapic, "lapic get");
        return lapic;
    }

    /** Takes effect when a {@link #run} in flight has ended. Idempotent. */
    @Override
    public void close() {
        run.close();
        fd.close();
    }

    @Override
    public String toString() {
        return fd.toString();
    }
}
