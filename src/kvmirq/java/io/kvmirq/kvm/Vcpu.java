/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.CurrentThread;
import io.kvmirq.events.Events;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.Fd;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * A virtual CPU, with the methods common to all architectures. {@link #x86} and {@link #arm64} return the methods of
 * one architecture. On arm64, call {@link Arm64Vcpu#initialize} before other methods.
 *
 * <p>Only the platform thread that created a vCPU, or that called {@link #moveHere} last, may use it. Each call takes
 * the vCPU mutex in the kernel, so another thread would block while the guest runs. Other threads may call only {@link
 * #kick} and {@link #close}.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="run"}
 */
public final class Vcpu implements AutoCloseable {
    private final VcpuCalls calls;
    private final VcpuId id;
    private final VcpuRun run;
    private final X86Vcpu x86;
    private final Arm64Vcpu arm64;
    private final boolean isBoot;
    /** The thread of {@link #reserve}; null if none. */
    private final AtomicReference<@Nullable Thread> reserved = new AtomicReference<>();

    private Vcpu(VmCalls vm, VgicCalls vgic, VcpuId id, Fd fd) {
        this.id = id;
        this.calls = new VcpuCalls(vm, fd); // maps the vCPU's kvm_run page
        try (Undo undo = new Undo()) {
            undo.add(calls::close);
            this.run = new VcpuRun(calls, vgic, new WatchedVcpu(id));
            this.x86 = new X86Vcpu(id, calls, run);
            this.arm64 = new Arm64Vcpu(calls, run);
            this.isBoot = !vm.isArm64() && X86Reset.isBoot(x86); // before the guest may change the bit
            undo.keep();
        }
    }

    static Vcpu create(VmCalls vm, VgicCalls vgic, VcpuId id) {
        CurrentThread.requirePlatform("Vm.createVcpu");
        Vcpu made = vm.createVcpu(id, fd -> new Vcpu(vm, vgic, id, fd));
        Events.record(Events.Type.VCPU_CREATED, VmCalls.number(vm.vm()), id.number());
        return made;
    }

    /** The id with which the vCPU was created. */
    public VcpuId id() {
        return id;
    }

    /** The x86 methods of this vCPU. Throws UnsupportedOperationException on arm64. */
    public X86Vcpu x86() {
        calls.vm().requireX86(calls.fd(), "Vcpu.arm64()");
        return x86;
    }

    /** The arm64 methods of this vCPU. Throws UnsupportedOperationException on x86. */
    public Arm64Vcpu arm64() {
        calls.vm().requireArm64(calls.fd(), "Vcpu.x86()");
        return arm64;
    }

    /** Whether this vCPU belongs to the VM with this descriptor, {@link Vm#fd}. */
    public boolean isOf(Fd vm) {
        Objects.requireNonNull(vm, "vm is null");
        return calls.vm().vm() == vm;
    }

    /**
     * Moves the vCPU to the calling thread, which is then the only thread that may use it.
     *
     * @throws IllegalStateException on a virtual thread, while another thread runs the vCPU, and after {@link #close}
     */
    public void moveHere() {
        CurrentThread.requirePlatform("Vcpu.moveHere");
        if (calls.fd().isClosed()) {
            throw new ClosedHandleException(toString());
        }
        run.kicks().moveHere(this);
    }

    /**
     * Reserves the vCPU for a thread that will run it, until that thread ends or {@link #unreserve} is called. Does not
     * move the vCPU.
     *
     * @return false if the vCPU is reserved for a thread that has not ended
     */
    @NotPromised
    public boolean reserve(Thread thread) {
        @Nullable Thread before = reserved.get();
        return (before == null || before.getState() == Thread.State.TERMINATED)
                && reserved.compareAndSet(before, Objects.requireNonNull(thread, "thread is null"));
    }

    /** Ends the reservation for a thread that was not started. Never fails. */
    @NotPromised
    public void unreserve(Thread thread) {
        reserved.compareAndSet(Objects.requireNonNull(thread, "thread is null"), null);
    }

    /** The run state: runnable, halted or waiting to be started. */
    public VcpuState state() {
        run.requireItsThread();
        return calls.state();
    }

    /**
     * Sets the run state: runnable, halted or waiting to be started.
     *
     * @throws io.kvmirq.KernelException EINVAL for a state that this architecture does not have, and, without an
     *     in-kernel irqchip, for every state but {@link VcpuState#RUNNABLE}
     */
    public void setState(VcpuState next) {
        run.requireItsThread();
        calls.setState(Objects.requireNonNull(next, "next is null"));
    }

    /**
     * Runs the guest until it exits to user space. An x86 vCPU other than the boot processor waits in this call for
     * INIT and SIPI. A thread's first run blocks {@link #kick}'s real-time signal in the thread, so that the signal can
     * only end runs. If the kernel refuses to send the signal, this run fails, because no kick could end it. {@link
     * Thread#interrupt} does not end a run.
     *
     * @return the exit, always the same object; valid until the next run
     * @throws io.kvmirq.KernelException EIO in a process that did not create the VM; EFAULT for guest memory that this
     *     process has unmapped; on arm64 ENOEXEC before {@link Arm64Vcpu#initialize}, EPERM if a vCPU with SVE runs
     *     before {@link Arm64Vcpu#finalizeSve}, EBUSY before the {@link Vgic#init} of a GICv3, ENXIO if a VGIC address
     *     is not set, EINVAL if VGIC addresses overlap. If the VGIC refuses the first run, some kernels mark the VM
     *     dead, so that all its calls fail with EIO; others destroy the VGIC
     * @throws IllegalStateException before the {@link Vgic#init} of a GICv2 from {@link Arm64Vm#createVgicV2}; on any
     *     other thread; if no real-time signal is free for kicks, because the process has a handler for each
     */
    public VcpuExit run() {
        return run.run();
    }

    /**
     * Resets this vCPU to its power-up state, as on a guest reset: registers, FPU, debug registers, MSRs, pending
     * events and an in-kernel LAPIC. An unfinished guest access is completed first, which invalidates the last run's
     * {@link VcpuExit}. The boot vCPU becomes runnable. The others wait for INIT if their LAPICs are in the kernel.
     * CPUID, TSC rate, guest debugging and MSRs that report host properties are kept. The TSC keeps counting, and is
     * again the same on all vCPUs that were reset. On arm64 this repeats {@link Arm64Vcpu#initialize} with the features
     * of the last call, so a vCPU with {@code POWER_OFF} is off again.
     *
     * <p>With a split irqchip, KVM keeps a vector from {@link X86Vcpu#injectInterrupt} that the guest has not taken.
     *
     * @throws IllegalStateException on any thread but the vCPU's, before any change; on arm64 before {@code initialize}
     * @throws io.kvmirq.KernelException as {@link X86Msrs#ofHost}, before any change; later none is expected
     */
    public void reset() {
        run.requireItsThread();
        if (calls.vm().isArm64()) {
            arm64.reset();
        } else {
            X86Reset.apply(id, isBoot, calls, run, x86);
        }
    }

    /**
     * Whether the last run returned before the guest's instruction, such as a port access, was complete. Until the next
     * run completes it, the vCPU's registers do not show the guest's state.
     */
    public boolean isWithinInstruction() {
        run.requireItsThread();
        return run.isWithinInstruction();
    }

    /**
     * Ends the current run, even while the guest is halted, or else the next one. That run returns {@link
     * VcpuExit.Reason#INTR}, unless the guest exits for another reason first, in which case the next run returns INTR.
     * Several kicks may end one run, and one kick may end this run and the next. Any thread may kick. A kick never
     * fails, does nothing on a closed vCPU, and allocates nothing unless Flight Recorder records it. The kernel refuses
     * the signal while the user has RLIMIT_SIGPENDING pending signals. After a few thousand refusals, the kick logs a
     * warning and gives up, so the run continues until the guest exits.
     */
    public void kick() {
        run.kick();
    }

    /** This vCPU's phase, which other threads may read while it runs. */
    WatchedVcpu watched() {
        return run.watched();
    }

    /** The vCPU's descriptor. {@link Fd#ioctl(long,long)} makes ioctls that have no method here. */
    public Fd fd() {
        return calls.fd();
    }

    /** Enables a capability of this vCPU, as {@link Vm#enableCapability} does for a VM. */
    public void enableCapability(int number, long... arguments) {
        run.requireItsThread();
        calls.ioctl(KernelCall.CAP_ENABLE, Uapi.KVM_ENABLE_CAP, VmCalls.capability(number, arguments));
    }

    /** Closes the vCPU, and ends a current {@link #run} as {@link #kick} does. Idempotent, never fails. */
    @Override
    public void close() {
        calls.close();
        kick(); // after the close no run begins, so the kick misses none
        run.endCounts();
    }

    @Override
    public String toString() {
        return calls.fd().toString();
    }
}
