/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.Ppi;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.CurrentThread;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Undo;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.time.Instant;
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
    private static final int NO_EXIT = -1;

    private final VcpuCalls calls;
    private final VcpuId id;
    private final VgicCalls vgic;
    private final KickCalls kick;
    private final VcpuExit exit;
    private final WatchedVcpu watched;
    /** The owner's, used again by each call. */
    private final X86Lapic lapic = new X86Lapic();

    private @Nullable Cpuid cpuid;
    private boolean withinInstruction;

    /** Features of an arm64 vCPU; source: {@code KVM_ARM_VCPU_*} in arch/arm64/include/uapi/asm/kvm.h. */
    public enum Feature {
        /** It is off until another vCPU turns it on. */
        POWER_OFF(UapiArm64.KVM_ARM_VCPU_POWER_OFF),
        /** The guest turns vCPUs and the machine on and off by PSCI 0.2 or later. */
        PSCI_0_2(UapiArm64.KVM_ARM_VCPU_PSCI_0_2),
        /** EL1 is AArch32. */
        EL1_32BIT(UapiArm64.KVM_ARM_VCPU_EL1_32BIT),
        /** A PMU; {@link Vcpu#createPmu} gives it its interrupt. */
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
        this.vgic = vgic;
        this.watched = new WatchedVcpu(id);
        this.kick = new KickCalls(vm.vm().kernel(), watched);
        this.calls = new VcpuCalls(vm, fd); // it maps a page of the vCPU
        try (Undo undo = new Undo()) {
            undo.add(calls::close);
            this.exit = new VcpuExit(calls.page());
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

    private void requireItsThread() {
        if (Thread.currentThread() != kick.thread()) {
            throw ofAnotherThread();
        }
    }

    private IllegalStateException ofAnotherThread() {
        return new IllegalStateException(
                calls.fd() + " belongs to thread '" + kick.thread().getName() + "' and was used by '"
                        + Thread.currentThread().getName() + "', which would block while the guest runs: use a vCPU on"
                        + " one thread, or move it with moveHere while no thread runs it");
    }

    /**
     * Gives the vCPU to the calling thread, which uses it from now on; another thread made it, or used it so far.
     *
     * @throws IllegalStateException on a virtual thread, and while another thread runs it
     */
    public void moveHere() {
        CurrentThread.requirePlatform("Vcpu.moveHere");
        kick.moveHere(this);
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
        requireItsThread();
        calls.vm().requireArm64("a vCPU to initialise");
        ByteBuffer init = Buffers.allocate(UapiArm64.KvmVcpuInit.SIZE);
        calls.ioctl(calls.vm().vm(), KernelCall.VCPU_TARGET, UapiArm64.KVM_ARM_PREFERRED_TARGET, init);
        int bits = 0;
        for (Feature feature : features) {
            bits |= 1 << feature.bit;
        }
        calls.ioctl(
                KernelCall.VCPU_INIT, UapiArm64.KVM_ARM_VCPU_INIT, init.putInt(UapiArm64.KvmVcpuInit.FEATURES, bits));
    }

    // arm64

    private ArmVcpuCalls arm(String what) {
        requireItsThread();
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
        requireSmall(register);
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
        requireSmall(register);
        int unused = Long.SIZE - register.size() * Byte.SIZE;
        if (value << unused >>> unused != value && value << unused >> unused != value) {
            throw new IllegalArgumentException("0x" + Long.toHexString(value) + " does not fit into " + register
                    + ", which has " + register.size() + " bytes");
        }
        arm("registers by id").set(register, Buffers.allocate(Long.BYTES).putLong(0, value));
    }

    private static void requireSmall(ArmRegister register) {
        if (register.size() > Long.BYTES) {
            throw new IllegalArgumentException(
                    register + " has " + register.size() + " bytes: use armRegisterBytes and setArmRegisterBytes");
        }
    }

    /** A register of any size (arm64), in the order of bytes in memory. As {@link #armRegister} else. */
    public byte[] armRegisterBytes(ArmRegister register) {
        byte[] bytes = new byte[register.size()];
        arm("registers by id").get(register).get(0, bytes);
        return bytes;
    }

    /**
     * Sets a register of any size (arm64). As {@link #setArmRegister} else.
     *
     * @param bytes as many as the register has
     * @throws IllegalArgumentException if they are more or fewer
     */
    public void setArmRegisterBytes(ArmRegister register, byte[] bytes) {
        if (bytes.length != register.size()) {
            throw new IllegalArgumentException(
                    bytes.length + " bytes for " + register + ": expected " + register.size());
        }
        arm("registers by id").set(register, Buffers.allocate(bytes.length).put(0, bytes));
    }

    /** The interrupt that a timer raises (arm64). */
    public Ppi timerInterrupt(ArmTimer timer) {
        return arm("timers").timer(timer);
    }

    /**
     * Chooses the interrupt that a timer raises (arm64), of all vCPUs.
     *
     * @throws io.kvmirq.KernelException EINVAL if the VM has no VGIC; EBUSY when a vCPU has run
     */
    public void setTimerInterrupt(ArmTimer timer, Ppi interrupt) {
        arm("timers").setTimer(timer, interrupt);
    }

    /**
     * Gives the PMU its interrupt and makes it ready (arm64), after {@link Vgic#init}.
     *
     * @param interrupt the same of each vCPU; usually PPI 23
     * @throws io.kvmirq.KernelException ENODEV if the vCPU was initialised without {@link Feature#PMU_V3}, or the VGIC
     *     is not ready; EINVAL if the VM has no VGIC, or another vCPU has another PPI; EBUSY if the PMU has its interrupt
     */
    public void createPmu(Ppi interrupt) {
        arm("a PMU of KVM").createPmu(interrupt);
    }

    private void requireX86(String what) {
        requireItsThread();
        calls.vm().refuseOnArm64(what, "initialise the vCPU");
    }

    /**
     * Shows the guest this CPUID (x86). KVM takes leaves and features that the host does not have, and the guest fails
     * when it uses them.
     *
     * @throws io.kvmirq.KernelException E2BIG for more than 256 leaves; EINVAL after the first run, unless it is the same
     */
    public void setCpuid(Cpuid cpuid) {
        requireX86("CPUID");
        calls.ioctl(KernelCall.CPUID_SET, Uapi.KVM_SET_CPUID2, cpuid.structure());
        this.cpuid = cpuid;
    }

    /** The CPUID leaves of the last {@link #setCpuid} (x86). */
    public Optional<Cpuid> cpuid() {
        return Optional.ofNullable(cpuid);
    }

    /** Shows the guest the CPUID the kernel supports, x2APIC included (x86). */
    public void useHostCpuid() {
        requireX86("CPUID");
        setCpuid(Cpuid.ofHost(calls.fd().kernel()));
    }

    // Registers

    private <S extends X86State> S read(String what, KernelCall call, long request, S into) {
        requireX86(what);
        calls.ioctl(call, request, into.structure);
        return into;
    }

    private void write(String what, KernelCall call, long request, X86State from) {
        requireX86(what);
        calls.ioctl(call, request, from.structure);
    }

    /** A copy of the general registers (x86). */
    public X86Registers registers() {
        return read("RIP", KernelCall.REGS_GET, Uapi.KVM_GET_REGS, new X86Registers());
    }

    /** Gives the vCPU these general registers (x86). */
    public void setRegisters(X86Registers registers) {
        Objects.requireNonNull(registers, "registers is null");
        write("RIP", KernelCall.REGS_SET, Uapi.KVM_SET_REGS, registers);
    }

    /** A copy of the segment and control registers (x86). */
    public X86SystemRegisters systemRegisters() {
        return read("CR0", KernelCall.SREGS_GET, Uapi.KVM_GET_SREGS, new X86SystemRegisters());
    }

    /**
     * Gives the vCPU these segment and control registers (x86).
     *
     * @throws io.kvmirq.KernelException EINVAL if they contradict each other, or the base of the LAPIC is invalid
     */
    public void setSystemRegisters(X86SystemRegisters registers) {
        Objects.requireNonNull(registers, "registers is null");
        write("CR0", KernelCall.SREGS_SET, Uapi.KVM_SET_SREGS, registers);
    }

    /**
     * Reads model specific registers (x86).
     *
     * @param wanted those to read; their values do not count, and it stays as it is
     * @throws MsrRefusedException for one that KVM or the vCPU's CPUID lacks
     */
    public X86Msrs msrs(X86Msrs wanted) {
        requireX86("MSRs");
        return new MsrCalls(calls).get(wanted);
    }

    /**
     * Writes model specific registers, in their order (x86).
     *
     * @throws MsrRefusedException for an MSR that KVM or the vCPU's CPUID lacks, or that refuses the value; the MSRs
     *     before it are written
     */
    public void setMsrs(X86Msrs msrs) {
        requireX86("MSRs");
        new MsrCalls(calls).set(msrs);
    }

    /** The rate of the vCPU's time stamp counter in kHz (x86). */
    public int tscKilohertz() {
        requireX86("a TSC");
        return calls.value(KernelCall.TSC_RATE, Uapi.KVM_GET_TSC_KHZ, 0);
    }

    /**
     * Sets the rate of the vCPU's time stamp counter (x86).
     *
     * @param kilohertz 0 for the host's
     * @throws io.kvmirq.KernelException EINVAL for a rate that the processor cannot scale to
     * @throws IllegalArgumentException for a negative rate, which the kernel takes for one of more than 2 THz
     */
    public void setTscKilohertz(int kilohertz) {
        requireX86("a TSC");
        if (kilohertz < 0) {
            throw new IllegalArgumentException("a TSC of " + kilohertz
                    + " kHz is not possible: expected a positive rate, or 0 for that of the host");
        }
        calls.value(KernelCall.TSC_RATE, Uapi.KVM_SET_TSC_KHZ, kilohertz);
    }

    /** A copy of the x87 and SSE registers (x86). */
    public X86Fpu fpu() {
        return read("an FPU", KernelCall.FPU_GET, Uapi.KVM_GET_FPU, new X86Fpu());
    }

    /**
     * Gives the vCPU these x87 and SSE registers (x86). They are in use only as far as {@link X86Xsave#features} says: a
     * vCPU begins with all in their initial state, and {@link #setXsave} sets all.
     */
    public void setFpu(X86Fpu fpu) {
        Objects.requireNonNull(fpu, "fpu is null");
        write("an FPU", KernelCall.FPU_SET, Uapi.KVM_SET_FPU, fpu);
    }

    /** A copy of the extended state (x86). */
    public X86Xsave xsave() {
        requireX86("XSAVE");
        int size = calls.vm().xsaveSize();
        X86Xsave xsave = new X86Xsave(Math.max(size, X86Xsave.LEAST));
        long request = size > X86Xsave.LEAST ? Uapi.KVM_GET_XSAVE2 : Uapi.KVM_GET_XSAVE;
        calls.ioctlAt(KernelCall.XSAVE_GET, request, xsave.structure);
        return xsave;
    }

    /**
     * Gives the vCPU this extended state (x86).
     *
     * @throws io.kvmirq.KernelException EINVAL for state that the host does not have, or a compacted area
     * @throws IllegalArgumentException if this VM has longer areas
     */
    public void setXsave(X86Xsave xsave) {
        requireX86("XSAVE");
        int size = calls.vm().xsaveSize();
        if (xsave.size() < size) {
            throw new IllegalArgumentException(
                    "an XSAVE area of " + xsave.size() + " bytes: this VM's have " + size + ", as KVM_CAP_XSAVE2 says");
        }
        calls.ioctlAt(KernelCall.XSAVE_SET, Uapi.KVM_SET_XSAVE, xsave.structure);
    }

    /** XCR0, the state that the guest has turned on: bit 0 x87, bit 1 SSE, bit 2 AVX (x86). KVM has no other XCR. */
    public long xcr0() {
        requireX86("XCR0");
        ByteBuffer xcrs = Buffers.allocate(Uapi.KvmXcrs.SIZE);
        calls.ioctl(KernelCall.XCRS_GET, Uapi.KVM_GET_XCRS, xcrs);
        return xcrs.getLong(Uapi.KvmXcrs.XCRS + Uapi.KvmXcr.VALUE);
    }

    /**
     * Sets XCR0 (x86), whose number among the XCRs is 0.
     *
     * @throws io.kvmirq.KernelException EINVAL for bits that leaf 0xd of the vCPU's CPUID does not offer, or without bit 0
     */
    public void setXcr0(long value) {
        requireX86("XCR0");
        ByteBuffer xcrs = Buffers.allocate(Uapi.KvmXcrs.SIZE)
                .putInt(Uapi.KvmXcrs.NR_XCRS, 1)
                .putLong(Uapi.KvmXcrs.XCRS + Uapi.KvmXcr.VALUE, value);
        calls.ioctl(KernelCall.XCRS_SET, Uapi.KVM_SET_XCRS, xcrs);
    }

    /** A copy of the exceptions, interrupts and NMIs on their way (x86). */
    public X86Events events() {
        return read("events", KernelCall.EVENTS_GET, Uapi.KVM_GET_VCPU_EVENTS, new X86Events());
    }

    /**
     * Puts these exceptions, interrupts and NMIs on their way (x86).
     *
     * @throws io.kvmirq.KernelException EINVAL for a vector that no exception has, and where the kernel has no System
     *     Management Mode
     */
    public void setEvents(X86Events events) {
        Objects.requireNonNull(events, "events is null");
        write("events", KernelCall.EVENTS_SET, Uapi.KVM_SET_VCPU_EVENTS, events);
    }

    /** A copy of the debug registers (x86). */
    public X86DebugRegisters debugRegisters() {
        return read("DR7", KernelCall.DEBUG_GET, Uapi.KVM_GET_DEBUGREGS, new X86DebugRegisters());
    }

    /**
     * Gives the vCPU these debug registers (x86).
     *
     * @throws io.kvmirq.KernelException EINVAL if DR6 or DR7 has more than 32 bits
     */
    public void setDebugRegisters(X86DebugRegisters registers) {
        write("DR7", KernelCall.DEBUG_SET, Uapi.KVM_SET_DEBUGREGS, registers);
    }

    /**
     * A copy of the LAPIC's registers (x86).
     *
     * @throws io.kvmirq.KernelException EINVAL in a VM without in-kernel irqchip
     */
    public X86Lapic lapic() {
        return readLapic(new X86Lapic());
    }

    /**
     * Gives the LAPIC these registers (x86).
     *
     * @throws io.kvmirq.KernelException EINVAL in a VM without in-kernel irqchip; in x2APIC mode also for another id
     */
    public void setLapic(X86Lapic next) {
        Objects.requireNonNull(next, "next is null");
        write("a LAPIC", KernelCall.LAPIC_SET, Uapi.KVM_SET_LAPIC, next);
    }

    /** Whether the vCPU runs, halts or waits to be started. */
    public VcpuState state() {
        requireItsThread();
        ByteBuffer state = Buffers.allocate(Uapi.KvmMpState.SIZE);
        calls.ioctl(KernelCall.VCPU_STATE, Uapi.KVM_GET_MP_STATE, state);
        return VcpuState.of(state.getInt(Uapi.KvmMpState.MP_STATE));
    }

    /**
     * Makes the vCPU run, halt or wait to be started.
     *
     * @throws io.kvmirq.KernelException EINVAL for a state that this architecture does not have; without in-kernel irqchip,
     *     for all but {@link VcpuState#RUNNABLE}
     */
    public void setState(VcpuState next) {
        requireItsThread();
        ByteBuffer state = Buffers.allocate(Uapi.KvmMpState.SIZE).putInt(Uapi.KvmMpState.MP_STATE, next.number());
        calls.ioctl(KernelCall.VCPU_STATE, Uapi.KVM_SET_MP_STATE, state);
    }

    /**
     * Makes the guest begin in real mode, code segment at 0, interrupts off (x86).
     *
     * @param instruction 0–0xffff
     * @param stack 0–0xffff
     * @throws IllegalArgumentException for an address beyond real mode
     */
    public void startAt(int instruction, int stack) {
        requireReal("instruction", instruction);
        requireReal("stack", stack);
        X86SystemRegisters system = systemRegisters();
        X86Segment code = system.segment(X86SystemRegisters.Segment.CS);
        setSystemRegisters(
                system.setSegment(X86SystemRegisters.Segment.CS, new X86Segment(0, code.limit(), 0, code.access())));
        setRegisters(new X86Registers().set(X86Registers.Name.RIP, instruction).set(X86Registers.Name.RSP, stack));
    }

    private static void requireReal(String register, int address) {
        if (address >>> Short.SIZE != 0) {
            throw new IllegalArgumentException(register + " 0x" + Integer.toHexString(address)
                    + " is beyond real mode with its segments at 0: expected 0 to 0xffff; for another mode use"
                    + " setSystemRegisters and setRegisters");
        }
    }

    /**
     * Runs the guest until it exits; blocks. An application processor waits inside for its INIT and SIPI. The first run in
     * a thread blocks one real-time signal there, which {@link #kick} uses; it stays blocked.
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
        if (!kick.begin()) {
            throw ofAnotherThread();
        }
        int reason = NO_EXIT;
        try {
            vgic.requireInit();
            if (!kick.isReady()) {
                calls.ioctlAt(KernelCall.VCPU_SIGNALS, Uapi.KVM_SET_SIGNAL_MASK, kick.block());
                kick.ready();
            }
            reason = calls.run(exit);
        } finally {
            leave(reason);
        }
        return exit;
    }

    /** Another thread may take the vCPU only when all of this is done. */
    private void leave(int reason) {
        try {
            boolean kicked = kick.end();
            if (reason == Uapi.KVM_EXIT_INTR) {
                calls.setImmediateExit(false);
            } else if (kicked) {
                calls.setImmediateExit(true); // the kick ends the next run
            }
            if (reason != NO_EXIT) {
                exit.become(reason);
                withinInstruction = exit.isWithinInstruction();
                if (watched.isAsked()) {
                    watched.answer(sampledLapic());
                }
            }
        } finally {
            watched.leaves(reason != NO_EXIT);
            kick.left();
        }
    }

    /** KVM loads the vCPU for this call, too, so that it is part of the run. Never fails. */
    private Optional<WatchedVcpu.Lapic> sampledLapic() {
        if (calls.vm().isArm64()) {
            return Optional.empty();
        }
        try {
            readLapic(lapic);
            return Optional.of(new WatchedVcpu.Lapic(
                    calls.page().getLong(Uapi.KvmRun.APIC_BASE), // also of a run that a kick ended
                    lapic.get(X86Lapic.Name.ID),
                    lapic.get(X86Lapic.Name.LDR),
                    lapic.get(X86Lapic.Name.DFR),
                    lapic.get(X86Lapic.Name.SVR),
                    Instant.now()));
        } catch (KernelException | ClosedHandleException e) {
            return Optional.empty(); // the VM has no LAPICs in the kernel, or the vCPU was closed during the run
        }
    }

    /**
     * Whether its last run ended within an instruction, such as an access to a port: the next run completes it, so that
     * registers do not tell the guest's state now.
     */
    public boolean isWithinInstruction() {
        requireItsThread();
        return withinInstruction;
    }

    /**
     * Ends the run that another thread is in, also one whose guest halts; if none is, the next one. That run returns {@link
     * VcpuExit.Reason#INTR}, or another exit if that came first, and then the next one returns INTR. Several kicks may end
     * one run. Of a closed vCPU it does nothing. Any thread may call it. It allocates nothing and never fails. It
     * waits only while the process may have no more signals pending (RLIMIT_SIGPENDING).
     */
    public void kick() {
        if (!kick.send() && calls.setImmediateExit(true)) {
            kick.send(); // for a run that has begun meanwhile
        }
    }

    /**
     * Sets the LAPIC's software-enable bit (SVR bit 8), as a guest does at boot (x86).
     *
     * @throws io.kvmirq.KernelException EINVAL in a VM without in-kernel irqchip
     */
    public void enableLapic() {
        int enabled = readLapic(lapic).get(X86Lapic.Name.SVR) | Uapi.KvmLapicState.SVR_ENABLE;
        setLapic(lapic.set(X86Lapic.Name.SVR, enabled));
    }

    /** Whether {@code vector} waits in the LAPIC's interrupt request register (x86). */
    public boolean isRequested(InterruptVector vector) {
        int word = Uapi.KvmLapicState.IRR + vector.number() / 32 * 16;
        return (readLapic(lapic).get(word) >>> vector.number() % 32 & 1) == 1;
    }

    private X86Lapic readLapic(X86Lapic into) {
        return read("a LAPIC", KernelCall.LAPIC_GET, Uapi.KVM_GET_LAPIC, into);
    }

    /** The phase of this vCPU, which other threads read while it runs. */
    WatchedVcpu watched() {
        return watched;
    }

    /** The descriptor, to be leased for calls that have no method here. */
    public Fd fd() {
        return calls.fd();
    }

    /** Ends a {@link #run} in flight, as {@link #kick}, and takes effect when it has returned. Idempotent, never fails. */
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
