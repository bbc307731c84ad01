/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Errno;
import io.kvmirq.VcpuId;
import io.kvmirq.Vector;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Threads;
import java.nio.ByteBuffer;

/**
 * A virtual CPU (x86), as far as a self-test needs one.
 *
 * <p>Its calls come from the platform thread that created it: the kernel serialises them on one mutex, so any other
 * thread would block for as long as the guest runs. Only {@link #close} may come from elsewhere.
 */
public final class Vcpu implements AutoCloseable {
    private static final int MAX_CPUID_ENTRIES = 256;
    private static final int EINTR = -Errno.EINTR.number();

    private final Kernel kernel;
    private final Fd fd;
    private final Mapping run;
    private final Thread owner = Thread.currentThread();

    /** Why the guest left {@link #run}. */
    public enum Exit {
        /** The guest read or wrote a port nobody in the kernel serves. */
        IO(Uapi.KVM_EXIT_IO),
        /** It accessed an address nobody in the kernel serves. */
        MMIO(Uapi.KVM_EXIT_MMIO),
        /** It halted, without in-kernel LAPIC; with one, HLT stays in the kernel. */
        HLT(Uapi.KVM_EXIT_HLT),
        /** Triple fault. */
        SHUTDOWN(Uapi.KVM_EXIT_SHUTDOWN),
        FAIL_ENTRY(Uapi.KVM_EXIT_FAIL_ENTRY),
        INTERNAL_ERROR(Uapi.KVM_EXIT_INTERNAL_ERROR),
        /** A signal came. */
        INTR(Uapi.KVM_EXIT_INTR),
        /** Anything else. */
        OTHER(-1);

        private static final Exit[] ALL = values();
        private final int reason;

        Exit(int reason) {
            this.reason = reason;
        }

        static Exit of(int reason) {
            for (Exit exit : ALL) {
                if (exit.reason == reason) {
                    return exit;
                }
            }
            return OTHER;
        }
    }

    private Vcpu(Kernel kernel, Fd fd) {
        this.kernel = kernel;
        this.fd = fd;
        int size = kernel.calls().ioctl(kernel.device(), Uapi.KVM_GET_VCPU_MMAP_SIZE, 0, "vcpu mmap size");
        this.run = Mapping.of(fd, size);
    }

    static Vcpu create(Vm vm, VcpuId id) {
        Threads.requirePlatform("Vm.createVcpu");
        Kernel kernel = vm.kernel();
        Fd fd = kernel.calls().createVcpu(vm.fd(), id);
        try {
            return new Vcpu(kernel, fd);
        } catch (RuntimeException e) {
            fd.close();
            throw e;
        }
    }

    private Calls calls() {
        if (Thread.currentThread() != owner) {
            throw new IllegalStateException(fd + " belongs to thread '" + owner.getName() + "' and was used by '"
                    + Thread.currentThread().getName() + "', which would block while the guest runs: create and use a"
                    + " vCPU on one thread");
        }
        return kernel.calls();
    }

    /** Shows the guest the CPUID the kernel supports, x2APIC included. */
    public void useHostCpuid() {
        int bytes = Uapi.CPUID_HEADER_SIZE + MAX_CPUID_ENTRIES * Uapi.CPUID_ENTRY_SIZE;
        ByteBuffer cpuid = Buffers.allocate(bytes).putInt(0, MAX_CPUID_ENTRIES);
        calls().ioctl(kernel.device(), Uapi.KVM_GET_SUPPORTED_CPUID, cpuid, "supported cpuid");
        calls().ioctl(fd, Uapi.KVM_SET_CPUID2, cpuid, "cpuid set");
    }

    /** Makes the guest begin in real mode, segments at 0, interrupts off. */
    public void startAt(int instruction, int stack) {
        ByteBuffer segments = Buffers.allocate(Uapi.SREGS_SIZE);
        calls().ioctl(fd, Uapi.KVM_GET_SREGS, segments, "sregs get");
        segments.putLong(Uapi.SREGS_CS_BASE, 0).putShort(Uapi.SREGS_CS_SELECTOR, (short) 0);
        calls().ioctl(fd, Uapi.KVM_SET_SREGS, segments, "sregs set");
        ByteBuffer registers = Buffers.allocate(Uapi.REGS_SIZE)
                .putLong(Uapi.REGS_RIP, instruction)
                .putLong(Uapi.REGS_RSP, stack)
                .putLong(Uapi.REGS_RFLAGS, 2);
        calls().ioctl(fd, Uapi.KVM_SET_REGS, registers, "regs set");
    }

    /**
     * Runs the guest until it exits; blocks.
     *
     * @throws io.kvmirq.KernelException EIO from another process; EFAULT when the guest's memory is gone
     */
    public Exit run() {
        int result = calls().ioctlResult(fd, Uapi.KVM_RUN, 0);
        if (result == EINTR) {
            return Exit.INTR;
        }
        if (result < 0) {
            throw new io.kvmirq.KernelException("vcpu run", fd.toString(), Errno.ofResult(result), "");
        }
        return Exit.of(run.getInt(Uapi.RUN_EXIT_REASON));
    }

    /** After {@link Exit#IO}: the port. */
    public int ioPort() {
        return run.getShort(Uapi.RUN_IO_PORT) & 0xffff;
    }

    /** After {@link Exit#IO}: whether the guest wrote. */
    public boolean ioWrite() {
        return run.getByte(Uapi.RUN_IO_DIRECTION) == Uapi.KVM_EXIT_IO_OUT;
    }

    /** After {@link Exit#IO} of a write: its first byte. */
    public int ioByte() {
        return run.getByte(Math.toIntExact(run.getLong(Uapi.RUN_IO_DATA_OFFSET))) & 0xff;
    }

    /** Sets the LAPIC's software-enable bit (SVR bit 8), as a guest's first act would. */
    public void enableLapic() {
        ByteBuffer lapic = lapic();
        lapic.putInt(Uapi.LAPIC_SVR, lapic.getInt(Uapi.LAPIC_SVR) | Uapi.LAPIC_SVR_ENABLE);
        calls().ioctl(fd, Uapi.KVM_SET_LAPIC, lapic, "lapic set");
    }

    /** Whether {@code vector} waits in the LAPIC's interrupt request register. */
    public boolean isRequested(Vector vector) {
        int word = Uapi.LAPIC_IRR + vector.number() / 32 * 16;
        return (lapic().getInt(word) >>> vector.number() % 32 & 1) == 1;
    }

    private ByteBuffer lapic() {
        ByteBuffer lapic = Buffers.allocate(Uapi.LAPIC_SIZE);
        calls().ioctl(fd, Uapi.KVM_GET_LAPIC, lapic, "lapic get");
        return lapic;
    }

    /** Idempotent, never fails; takes effect when a {@link #run} in flight has ended. */
    @Override
    public void close() {
        run.close();
        fd.close();
    }
}
