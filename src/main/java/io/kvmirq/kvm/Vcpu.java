/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.VcpuId;
import io.kvmirq.Vector;
import io.kvmirq.kernel.VcpuFile;

/**
 * A virtual CPU (x86), as far as a self-test needs one.
 *
 * <p>Its calls come from the platform thread that created it: the kernel serialises them on one mutex, so any other
 * thread would block for as long as the guest runs. Only {@link #close} may come from elsewhere.
 */
public final class Vcpu implements AutoCloseable {
    private final VcpuFile file;
    private final Thread owner = Thread.currentThread();

    /** Why the guest left {@link #run}; source: {@code KVM_EXIT_*} in linux/kvm.h. */
    public enum Exit {
        /** The guest read or wrote a port nobody in the kernel serves. */
        IO(2),
        /** It accessed an address nobody in the kernel serves. */
        MMIO(6),
        /** It halted, without in-kernel LAPIC; with one, HLT stays in the kernel. */
        HLT(5),
        /** Triple fault. */
        SHUTDOWN(8),
        FAIL_ENTRY(9),
        INTERNAL_ERROR(17),
        /** A signal came. */
        INTR(10),
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

    Vcpu(Vm vm, VcpuId id) {
        this.file = new VcpuFile(vm.fd(), id);
    }

    private VcpuFile onItsThread() {
        if (Thread.currentThread() != owner) {
            throw new IllegalStateException(file + " belongs to thread '" + owner.getName() + "' and was used by '"
                    + Thread.currentThread().getName() + "', which would block while the guest runs: create and use a"
                    + " vCPU on one thread");
        }
        return file;
    }

    /** Shows the guest the CPUID the kernel supports, x2APIC included. */
    public void useHostCpuid() {
        onItsThread().useHostCpuid();
    }

    /** Makes the guest begin in real mode, code segment at 0, interrupts off. */
    public void startAt(int instruction, int stack) {
        onItsThread().startAt(instruction, stack);
    }

    /**
     * Runs the guest until it exits; blocks.
     *
     * @throws io.kvmirq.KernelException EIO from another process; EFAULT when the guest's memory is gone
     */
    public Exit run() {
        return Exit.of(onItsThread().run());
    }

    /** After {@link Exit#IO}: the port. */
    public int ioPort() {
        return onItsThread().ioPort();
    }

    /** After {@link Exit#IO}: whether the guest wrote. */
    public boolean ioWrite() {
        return onItsThread().ioWrite();
    }

    /**
     * Sets the LAPIC's software-enable bit (SVR bit 8), as a guest's first act would.
     *
     * @throws io.kvmirq.KernelException EINVAL in a VM without in-kernel irqchip
     */
    public void enableLapic() {
        onItsThread().enableLapic();
    }

    /** Whether {@code vector} waits in the LAPIC's interrupt request register. */
    public boolean isRequested(Vector vector) {
        return onItsThread().isRequested(vector);
    }

    /** Takes effect when a {@link #run} in flight has ended. Idempotent, never fails. */
    @Override
    public void close() {
        file.close();
    }

    @Override
    public String toString() {
        return file.toString();
    }
}
