/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.InterruptVector;
import io.kvmirq.Ppi;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.CurrentThread;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kvm.X86SystemRegisters.Segment;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import io.kvmirq.undo.Undo;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A virtual CPU. On arm64 call {@link #initialize} first.
 *
 * <p>It belongs to the platform thread that created it, or that took it by {@link #moveHere}: the kernel serialises the
 * calls on one mutex, so any other thread would block for as long as the guest runs. Only {@link #kick} and {@link
 * #close} may come from elsewhere.
 */
public final class Vcpu implements AutoCloseable {
    private final VcpuCalls calls;
    private final VcpuId id;
    private final X86VcpuCalls x86;
    private final VcpuRun run;

    private @Nullable Cpuid cpuid;

    /** Features of an arm64 vCPU; source: {@code KVM_ARM_VCPU_*} in arch/arm64/include/uapi/asm/kvm.h. */
    public enum Feature {
        /** It is off until another vCPU turns it on. */
        POWER_OFF(UapiArm64.KVM_ARM_VCPU_POWER_OFF),
        /** The guest turns vCPUs and the machine on and off by PSCI 0.2 or later. */
        PSCI_0_2(UapiArm64.KVM_ARM_VCPU_PSCI_0_2),
        /** EL1 is AArch32. */
        EL1_32BIT(UapiArm64.KVM_ARM_VCPU_EL1_32BIT),
        /** A PMU; {@link Vcpu#createPmu} sets its interrupt. */
        PMU_V3(UapiArm64.KVM_ARM_VCPU_PMU_V3),
        /** Scalable vectors; {@link Vcpu#finalizeSve} must follow. */
        SVE(UapiArm64.KVM_ARM_VCPU_SVE),
        /** Authentication of addresses; with {@link #PTRAUTH_GENERIC}. */
        PTRAUTH_ADDRESS(UapiArm64.KVM_ARM_VCPU_PTRAUTH_ADDRESS),
        /** Generic authentication; with {@link #PTRAUTH_ADDRESS}. */
        PTRAUTH_GENERIC(UapiArm64.KVM_ARM_VCPU_PTRAUTH_GENERIC);

        private final int bit;

        Feature(int bit) {
            this.bit = bit;
        }
    }

    private Vcpu(VmCalls vm, VgicCalls vgic, VcpuId id, Fd fd) {
        this.id = id;
        this.calls = new VcpuCalls(vm, fd); // it maps a page of the vCPU
        try (Undo undo = new Undo()) {
            undo.add(calls::close);
            this.x86 = new X86VcpuCalls(calls);
            this.run = new VcpuRun(x86, vgic, new WatchedVcpu(id));
            undo.keep();
        }
    }

    static Vcpu create(VmCalls vm, VgicCalls vgic, VcpuId id) {
        CurrentThread.requirePlatform("Vm.createVcpu");
        return vm.createVcpu(id, fd -> new Vcpu(vm, vgic, id, fd));
    }

    /** The id that it was made with. */
    public VcpuId id() {
        return id;
    }

    /** Whether it is a vCPU of the VM with this handle, {@link Vm#fd}. */
    public boolean isOf(Fd vm) {
        Objects.requireNonNull(vm, "vm is null");
        return calls.vm().vm() == vm;
    }

    /**
     * Moves the vCPU from the thread that made or last took it to the calling thread.
     *
     * @throws IllegalStateException on a virtual thread, and while another thread runs it; after {@link #close}
     */
    public void moveHere() {
        CurrentThread.requirePlatform("Vcpu.moveHere");
        if (calls.fd().isClosed()) {
            throw new ClosedHandleException(toString());
        }
        run.kicks().moveHere(this);
    }

    /**
     * Gives the vCPU the host's type and these features (arm64), and resets its registers.
     *
     * @throws io.kvmirq.KernelException EINVAL if the features differ from those of an earlier call, or since 6.5 from
     *     those of another vCPU of the VM ({@link Feature#POWER_OFF} may differ); ENOENT for a feature that the host
     *     does not have
     * @throws UnsupportedOperationException if the kernel is not arm64
     */
    public void initialize(Feature... features) {
        run.requireItsThread();
        calls.vm().requireArm64("a vCPU to initialise");
        int bits = 0;
        for (Feature feature : features) {
            bits |= 1 << feature.bit;
        }
        calls.initialize(bits);
    }

    private ArmVcpuCalls arm(String what) {
        run.requireItsThread();
        calls.vm().requireArm64(what);
        return new ArmVcpuCalls(calls.vm(), calls.fd());
    }

    /**
     * Makes SVE final (arm64), after the vectors' lengths are chosen and before registers are listed or the guest runs.
     *
     * @throws io.kvmirq.KernelException EINVAL if the vCPU was initialised without {@link Feature#SVE}; EPERM if SVE is
     *     final already
     */
    public void finalizeSve() {
        arm("features to make final").finalizeFeature(UapiArm64.KVM_ARM_VCPU_SVE);
    }

    /**
     * The registers that the vCPU has (arm64), in the kernel's order.
     *
     * @throws io.kvmirq.KernelException ENOEXEC before {@link #initialize}; EPERM before {@link #finalizeSve} with SVE
     */
    public List<ArmRegister> armRegisters() {
        return arm("registers by id").list();
    }

    /**
     * A register of at most 64 bits (arm64), zero-extended.
     *
     * @throws IllegalArgumentException if it is larger
     * @throws io.kvmirq.KernelException ENOEXEC before {@link #initialize}; ENOENT if the vCPU does not have it
     */
    public long armRegister(ArmRegister register) {
        Objects.requireNonNull(register, "register is null").requireSmall();
        return arm("registers by id").get(register).getLong(0);
    }

    /**
     * Sets a register of at most 64 bits (arm64).
     *
     * @throws IllegalArgumentException if it is larger, or smaller than {@code value} is as an unsigned or signed number
     * @throws io.kvmirq.KernelException ENOEXEC before {@link #initialize}; ENOENT if the vCPU does not have it; EINVAL
     *     for a value that it cannot have
     */
    public void setArmRegister(ArmRegister register, long value) {
        Objects.requireNonNull(register, "register is null");
        arm("registers by id").set(register, register.encode(value));
    }

    /** The bytes of a register of any size (arm64), as in memory. Otherwise as {@link #armRegister}. */
    public byte[] armRegisterBytes(ArmRegister register) {
        byte[] bytes =
                new byte[Objects.requireNonNull(register, "register is null").size()];
        arm("registers by id").get(register).get(0, bytes);
        return bytes;
    }

    /**
     * Sets a register of any size (arm64). Otherwise as {@link #setArmRegister}.
     *
     * @param bytes as many as the register has
     * @throws IllegalArgumentException if they are more or fewer
     */
    public void setArmRegisterBytes(ArmRegister register, byte[] bytes) {
        Objects.requireNonNull(register, "register is null");
        Objects.requireNonNull(bytes, "bytes is null");
        arm("registers by id").set(register, register.encode(bytes));
    }

    /** The interrupt that a timer raises (arm64). */
    public Ppi timerInterrupt(ArmTimer timer) {
        return arm("timers").timer(timer);
    }

    /**
     * Sets the interrupt that a timer raises (arm64), for all vCPUs of the VM.
     *
     * @throws io.kvmirq.KernelException EINVAL if the VM has no VGIC; EBUSY when a vCPU has run
     */
    public void setTimerInterrupt(ArmTimer timer, Ppi interrupt) {
        arm("timers").setTimer(timer, interrupt);
    }

    /**
     * Sets the PMU's interrupt and initialises the PMU (arm64). Call it after {@link Vgic#init}.
     *
     * @param interrupt the same of each vCPU; usually PPI 23
     * @throws io.kvmirq.KernelException ENODEV if the vCPU was initialised without {@link Feature#PMU_V3}, or the VGIC
     *     is not ready; EINVAL if the VM has no VGIC, or another vCPU has another PPI; EBUSY if the PMU has its interrupt
     */
    public void createPmu(Ppi interrupt) {
        arm("a PMU of KVM").createPmu(interrupt);
    }

    private X86VcpuCalls x86(String what) {
        run.requireItsThread();
        calls.vm().refuseOnArm64(what, "initialise the vCPU");
        return x86;
    }

    /**
     * Sets the CPUID that the guest sees (x86). KVM accepts features that the host lacks; a guest that uses one fails.
     *
     * @throws io.kvmirq.KernelException E2BIG for more than 256 leaves; EINVAL after the first run, unless it is the same
     */
    public void setCpuid(Cpuid cpuid) {
        Objects.requireNonNull(cpuid, "cpuid is null");
        x86("CPUID").setCpuid(cpuid);
        this.cpuid = cpuid;
    }

    /** The CPUID leaves of the last {@link #setCpuid} (x86). */
    public Optional<Cpuid> cpuid() {
        return Optional.ofNullable(cpuid);
    }

    /** Sets the CPUID leaves that KVM supports on this host, x2APIC included (x86). */
    public void useHostCpuid() {
        x86("CPUID");
        setCpuid(Cpuid.ofHost(calls.fd().kernel()));
    }

    // Registers

    /** A copy of the general registers (x86). */
    public X86Registers registers() {
        return x86("RIP").get(KernelCall.REGS_GET, Uapi.KVM_GET_REGS, new X86Registers());
    }

    /** Gives the vCPU these general registers (x86). */
    public void setRegisters(X86Registers registers) {
        Objects.requireNonNull(registers, "registers is null");
        x86("RIP").set(KernelCall.REGS_SET, Uapi.KVM_SET_REGS, registers);
    }

    /** A copy of the segment and control registers (x86). */
    public X86SystemRegisters systemRegisters() {
        return x86("CR0").get(KernelCall.SREGS_GET, Uapi.KVM_GET_SREGS, new X86SystemRegisters());
    }

    /**
     * Gives the vCPU these segment and control registers (x86).
     *
     * @throws io.kvmirq.KernelException EINVAL if they contradict each other, or the base of the LAPIC is invalid
     */
    public void setSystemRegisters(X86SystemRegisters registers) {
        Objects.requireNonNull(registers, "registers is null");
        x86("CR0").set(KernelCall.SREGS_SET, Uapi.KVM_SET_SREGS, registers);
        run.baseSet(registers.get(X86SystemRegisters.Name.APIC_BASE));
    }

    /**
     * Reads model specific registers (x86).
     *
     * @param wanted the MSRs to read; their values are ignored, and the object does not change
     * @throws MsrRefusedException for one that KVM or the vCPU's CPUID lacks
     */
    public X86Msrs msrs(X86Msrs wanted) {
        x86("MSRs");
        return new MsrCalls(calls).get(Objects.requireNonNull(wanted, "wanted is null"));
    }

    /**
     * Writes model specific registers, in their order (x86).
     *
     * @throws MsrRefusedException for an MSR that KVM or the vCPU's CPUID lacks, or that refuses the value; the MSRs
     *     before it are written
     */
    public void setMsrs(X86Msrs msrs) {
        x86("MSRs");
        run.lapicUnknown();
        new MsrCalls(calls).set(Objects.requireNonNull(msrs, "msrs is null"));
    }

    /** The rate of the vCPU's time stamp counter in kHz (x86). */
    public int tscKilohertz() {
        return x86("a TSC").tscKilohertz();
    }

    /**
     * Sets the rate of the vCPU's time stamp counter (x86).
     *
     * @param kilohertz 0 for the host's
     * @throws io.kvmirq.KernelException EINVAL for a rate that the processor cannot scale to
     * @throws IllegalArgumentException for a negative rate, which the kernel takes for one of more than 2 THz
     */
    public void setTscKilohertz(int kilohertz) {
        x86("a TSC").setTscKilohertz(kilohertz);
    }

    /** A copy of the x87 and SSE registers (x86). */
    public X86Fpu fpu() {
        return x86("an FPU").get(KernelCall.FPU_GET, Uapi.KVM_GET_FPU, new X86Fpu());
    }

    /**
     * Gives the vCPU these x87 and SSE registers (x86). {@link X86Xsave#features} decides which of them are in use: in
     * a new vCPU all are in their initial state. {@link #setXsave} sets features and registers.
     */
    public void setFpu(X86Fpu fpu) {
        Objects.requireNonNull(fpu, "fpu is null");
        x86("an FPU").set(KernelCall.FPU_SET, Uapi.KVM_SET_FPU, fpu);
    }

    /** A copy of the extended state (x86). */
    public X86Xsave xsave() {
        return x86("XSAVE").xsave();
    }

    /**
     * Gives the vCPU this extended state (x86).
     *
     * @throws io.kvmirq.KernelException EINVAL for state that the host does not have, or a compacted area
     * @throws IllegalArgumentException if this VM has longer areas
     */
    public void setXsave(X86Xsave xsave) {
        Objects.requireNonNull(xsave, "xsave is null");
        x86("XSAVE").setXsave(xsave);
    }

    /** XCR0, the extended state that the guest enabled: bit 0 x87, bit 1 SSE, bit 2 AVX (x86). KVM has no other XCR. */
    public long xcr0() {
        return x86("XCR0").xcr0();
    }

    /**
     * Sets XCR0 (x86), whose number among the XCRs is 0.
     *
     * @throws io.kvmirq.KernelException EINVAL for bits that leaf 0xd of the vCPU's CPUID does not offer, or without bit 0
     */
    public void setXcr0(long value) {
        x86("XCR0").setXcr0(value);
    }

    /** A copy of the pending exceptions, injected interrupts and NMIs (x86). */
    public X86Events events() {
        return x86("events").get(KernelCall.EVENTS_GET, Uapi.KVM_GET_VCPU_EVENTS, new X86Events());
    }

    /**
     * Sets the pending exceptions, injected interrupts and NMIs (x86).
     *
     * @throws io.kvmirq.KernelException EINVAL for a vector that no exception has, and where the kernel has no System
     *     Management Mode
     */
    public void setEvents(X86Events events) {
        Objects.requireNonNull(events, "events is null");
        x86("events").set(KernelCall.EVENTS_SET, Uapi.KVM_SET_VCPU_EVENTS, events);
    }

    /** A copy of the debug registers (x86). */
    public X86DebugRegisters debugRegisters() {
        return x86("DR7").get(KernelCall.DEBUG_GET, Uapi.KVM_GET_DEBUGREGS, new X86DebugRegisters());
    }

    /**
     * Gives the vCPU these debug registers (x86).
     *
     * @throws io.kvmirq.KernelException EINVAL if DR6 or DR7 has more than 32 bits
     */
    public void setDebugRegisters(X86DebugRegisters registers) {
        Objects.requireNonNull(registers, "registers is null");
        x86("DR7").set(KernelCall.DEBUG_SET, Uapi.KVM_SET_DEBUGREGS, registers);
    }

    /**
     * A copy of the LAPIC's registers (x86).
     *
     * @throws io.kvmirq.KernelException EINVAL in a VM without in-kernel irqchip
     */
    public X86Lapic lapic() {
        return x86("a LAPIC").lapic(new X86Lapic());
    }

    /**
     * Gives the LAPIC these registers (x86).
     *
     * @throws io.kvmirq.KernelException EINVAL in a VM without in-kernel irqchip; in x2APIC mode also for another id
     */
    public void setLapic(X86Lapic next) {
        Objects.requireNonNull(next, "next is null");
        x86("a LAPIC").set(KernelCall.LAPIC_SET, Uapi.KVM_SET_LAPIC, next);
        run.lapicSet(next);
    }

    /** Whether the vCPU runs, halts or waits to be started. */
    public VcpuState state() {
        run.requireItsThread();
        return calls.state();
    }

    /**
     * Makes the vCPU run, halt or wait to be started.
     *
     * @throws io.kvmirq.KernelException EINVAL for a state that this architecture does not have; without in-kernel irqchip,
     *     for all but {@link VcpuState#RUNNABLE}
     */
    public void setState(VcpuState next) {
        run.requireItsThread();
        calls.setState(Objects.requireNonNull(next, "next is null"));
    }

    /**
     * Makes the guest begin in real mode, with code segment 0 and interrupts disabled (x86). IllegalArgumentException
     * if an address is not in 0–0xffff.
     */
    public void startAt(int instruction, int stack) {
        X86Registers registers = X86Registers.inRealMode(instruction, stack);
        X86SystemRegisters system = systemRegisters();
        X86Segment code = system.segment(Segment.CS);
        setSystemRegisters(system.setSegment(Segment.CS, new X86Segment(0, code.limit(), 0, code.access())));
        setRegisters(registers);
    }

    /**
     * Runs the guest until it exits; blocks. An application processor waits inside for its INIT and SIPI. The first run in
     * a thread blocks one real-time signal there, which {@link #kick} uses; it stays blocked. It fails where the kernel
     * refuses that signal, because no kick could end it. {@link Thread#interrupt} does not end a run: only a kick does.
     *
     * @return the exit, always the same object; valid until the next run
     * @throws io.kvmirq.KernelException EIO from another process; EFAULT when the guest's memory is gone; on arm64
     *     ENOEXEC before {@link #initialize}, EPERM before {@link #finalizeSve} with SVE, EBUSY before the {@link
     *     Vgic#init} of a GICv3, ENXIO when an address of the VGIC is not set, EINVAL when its addresses overlap. When
     *     the VGIC refuses the first run, newer kernels, and stable ones with that fix, mark the VM dead: later calls
     *     fail with EIO. Older kernels destroy the VGIC instead
     * @throws IllegalStateException before the {@link Vgic#init} of a GICv2 that was created here; on a thread that the
     *     vCPU does not belong to; if every real-time signal of the process has a handler
     */
    public VcpuExit run() {
        return run.run();
    }

    /**
     * Whether the last run ended within an instruction, such as a port access. The next run completes the instruction;
     * before that, registers do not show the guest's state.
     */
    public boolean isWithinInstruction() {
        run.requireItsThread();
        return run.isWithinInstruction();
    }

    /**
     * Ends the current run, even if its guest halts. If no run is in progress, it ends the next one. That run returns
     * {@link VcpuExit.Reason#INTR}, or another exit that came first; then the next run returns INTR. Several kicks may
     * end one run. On a closed vCPU it does nothing. Any thread may call it. It allocates nothing and never fails. If
     * the kernel keeps refusing the signal, as while the user's pending signals have reached RLIMIT_SIGPENDING, a warning
     * says so after some thousand attempts, and the run goes on until its guest exits.
     */
    public void kick() {
        run.kick();
    }

    /**
     * Sets the LAPIC's software-enable bit (SVR bit 8), as a guest does at boot (x86).
     *
     * @throws io.kvmirq.KernelException EINVAL in a VM without in-kernel irqchip
     */
    public void enableLapic() {
        X86Lapic now = x86("a LAPIC").lapicNow();
        setLapic(now.set(X86Lapic.Name.SVR, now.get(X86Lapic.Name.SVR) | Uapi.KvmLapicState.SVR_ENABLE));
    }

    /** Whether {@code vector} waits in the LAPIC's interrupt request register (x86). */
    public boolean isRequested(InterruptVector vector) {
        int word = Uapi.KvmLapicState.IRR
                + Objects.requireNonNull(vector, "vector is null").number() / 32 * 16;
        return (x86("a LAPIC").lapicNow().get(word) >>> vector.number() % 32 & 1) == 1;
    }

    /** The phase of this vCPU, which other threads read while it runs. */
    WatchedVcpu watched() {
        return run.watched();
    }

    /** The vCPU's descriptor. Lease it for ioctls that have no method here. */
    public Fd fd() {
        return calls.fd();
    }

    /** Ends a {@link #run} as {@link #kick} does, and closes the vCPU after the run. Idempotent, never fails. */
    @Override
    public void close() {
        calls.close();
        kick(); // after that no run begins, so that none is missed
    }

    @Override
    public String toString() {
        return calls.fd().toString();
    }
}
