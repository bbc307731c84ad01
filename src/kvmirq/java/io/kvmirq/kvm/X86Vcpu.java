/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.InterruptVector;
import io.kvmirq.VcpuId;
import io.kvmirq.X86Msr;
import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kvm.X86SystemRegisters.Segment;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Objects;
import java.util.Optional;
import java.util.function.IntConsumer;
import org.jspecify.annotations.Nullable;

/**
 * The x86 methods of a vCPU, from {@link Vcpu#x86}: CPUID, registers, MSRs and LAPIC. Only the vCPU thread may use this
 * object.
 *
 * <p>Source: {@code kvm_arch_vcpu_ioctl()} in arch/x86/kvm/x86.c; for MSRs {@code __msr_io()}.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="lapic"}
 */
public final class X86Vcpu {
    /** The IA32_APIC_BASE bits that enable the LAPIC and x2APIC mode. Source: Intel SDM vol. 3, 11.12.1. */
    private static final long X2APIC = 3L << 10;

    /** The most MSRs per call; KVM refuses more with E2BIG. */
    private static final int MOST_MSRS = 255;

    private static final String UNKNOWN = "neither KVM on this host nor the vCPU's CPUID has it";

    private final VcpuId id;
    private final VcpuCalls calls;
    private final VcpuRun run;
    private @Nullable Cpuid cpuid;

    X86Vcpu(VcpuId id, VcpuCalls calls, VcpuRun run) {
        this.id = id;
        this.calls = calls;
        this.run = run;
    }

    private <S extends X86State> S get(KernelCall call, long request, S into) {
        ioctl(call, request, into.structure);
        return into;
    }

    private void set(KernelCall call, long request, X86State from) {
        ioctl(call, request, from.structure);
    }

    private void ioctl(KernelCall call, long request, ByteBuffer structure) {
        run.requireItsThread();
        calls.ioctl(call, request, structure);
    }

    private int ioctlAt(KernelCall call, long request, ByteBuffer structure) {
        run.requireItsThread();
        return calls.ioctlAt(call, request, structure);
    }

    private X86Lapic lapicNow() {
        run.requireItsThread();
        return run.lapicNow();
    }

    /**
     * Sets the CPUID that the guest sees. KVM accepts features that the host lacks, but they fail in the guest.
     *
     * @throws io.kvmirq.KernelException E2BIG for more than 256 leaves; EINVAL for a changed CPUID after the first run
     */
    public void setCpuid(Cpuid cpuid) {
        Objects.requireNonNull(cpuid, "cpuid is null");
        ioctl(KernelCall.CPUID_SET, Uapi.KVM_SET_CPUID2, cpuid.structure());
        this.cpuid = cpuid;
    }

    /** The CPUID leaves of the last {@link #setCpuid}; empty before it. */
    public Optional<Cpuid> cpuid() {
        return Optional.ofNullable(cpuid);
    }

    /** Sets all CPUID leaves that KVM supports on this host, including x2APIC, with this vCPU's APIC id. */
    public void useHostCpuid() {
        run.requireItsThread();
        setCpuid(Cpuid.ofHost(calls.fd().kernel()).withApicId(id.number()));
    }

    // Interrupts from the VMM

    /** Injects an NMI. While the guest handles an NMI, one more stays pending, and further NMIs are merged into it. */
    public void injectNmi() {
        run.requireItsThread();
        calls.value(KernelCall.NMI, Uapi.KVM_NMI, 0);
    }

    /**
     * Queues a system management interrupt.
     *
     * @throws io.kvmirq.KernelException ENOTTY on a kernel without CONFIG_KVM_SMM
     */
    public void injectSmi() {
        run.requireItsThread();
        calls.value(KernelCall.SMI, Uapi.KVM_SMI, 0);
    }

    /**
     * Injects an interrupt from a controller that the VMM emulates: the PIC with a split irqchip, or any controller
     * without an irqchip. Without an irqchip, call {@link VcpuExit#isReadyForInterrupt} first, because a second call
     * replaces an interrupt that the guest has not taken yet.
     *
     * @throws io.kvmirq.KernelException ENXIO with a full irqchip; EEXIST if an interrupt is pending with a split
     *     irqchip
     */
    public void injectInterrupt(InterruptVector vector) {
        int number = Objects.requireNonNull(vector, "vector is null").number();
        ByteBuffer interrupt = Buffers.allocate(Uapi.KvmInterrupt.SIZE).putInt(Uapi.KvmInterrupt.IRQ, number);
        ioctl(KernelCall.INTERRUPT, Uapi.KVM_INTERRUPT, interrupt);
    }

    /**
     * Makes {@link Vcpu#run} return with {@link VcpuExit.Reason#INTERRUPT_WINDOW} as soon as the running guest can take
     * an interrupt from {@link #injectInterrupt}. This has no effect with a full irqchip. With a split irqchip, it does
     * not end the run of a halted guest, so inject the vector without requesting a window.
     *
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link Vcpu#close}
     */
    public void requestInterruptWindow(boolean on) {
        run.requireItsThread();
        calls.requestInterruptWindow(on);
    }

    // Registers

    /** A copy of the general registers. */
    public X86Registers registers() {
        return get(KernelCall.REGS_GET, Uapi.KVM_GET_REGS, new X86Registers());
    }

    /** Writes the general registers. */
    public void setRegisters(X86Registers registers) {
        Objects.requireNonNull(registers, "registers is null");
        set(KernelCall.REGS_SET, Uapi.KVM_SET_REGS, registers);
    }

    /** A copy of the segment and control registers. */
    public X86SystemRegisters systemRegisters() {
        return get(KernelCall.SREGS_GET, Uapi.KVM_GET_SREGS, new X86SystemRegisters());
    }

    /**
     * Writes the segment and control registers.
     *
     * @throws io.kvmirq.KernelException EINVAL if registers are inconsistent, or the LAPIC base is invalid
     */
    public void setSystemRegisters(X86SystemRegisters registers) {
        Objects.requireNonNull(registers, "registers is null");
        set(KernelCall.SREGS_SET, Uapi.KVM_SET_SREGS, registers);
        run.baseSet(registers.get(X86SystemRegisters.Name.APIC_BASE));
    }

    /**
     * Reads the MSRs that a VMM saves: those of {@link X86Msrs#ofHost} that the vCPU has. KVM also lists MSRs, such as
     * VMX's, that it refuses to read if the vCPU's CPUID lacks their feature, but such MSRs have no state.
     *
     * @throws io.kvmirq.KernelException as {@link X86Msrs#ofHost}
     */
    public X86Msrs msrs() {
        return msrs(X86Msrs.ofHost(calls.fd().kernel()), number -> {});
    }

    /**
     * Reads MSRs.
     *
     * @param wanted the MSRs to read; its values are neither read nor changed
     * @throws MsrRefusedException if KVM does not support an MSR, or the vCPU's CPUID lacks its feature
     */
    public X86Msrs msrs(X86Msrs wanted) {
        Objects.requireNonNull(wanted, "wanted is null");
        return msrs(wanted, number -> {
            throw new MsrRefusedException(
                    number,
                    calls.fd() + ": MSR " + X86Msr.text(number) + " was not read: " + UNKNOWN
                            + "; X86Vcpu.msrs() reads all that it has");
        });
    }

    private X86Msrs msrs(X86Msrs wanted, IntConsumer refused) {
        X86Msrs read = new X86Msrs();
        int total = wanted.numbers().size();
        int first = 0;
        while (first < total) {
            int count = Math.min(MOST_MSRS, total - first);
            ByteBuffer batch = wanted.structure(first, count);
            int done = ioctlAt(KernelCall.MSRS_GET, Uapi.KVM_GET_MSRS, batch);
            if (done < count) {
                refused.accept(X86Msrs.number(batch, done));
                first++;
            }
            read.add(batch.putInt(Uapi.KvmMsrs.NMSRS, done));
            first += done;
        }
        return read;
    }

    /**
     * Writes MSRs in the order of {@link X86Msrs#numbers}.
     *
     * @throws MsrRefusedException if KVM or the vCPU's CPUID lacks an MSR, or KVM refuses a value; the MSRs before the
     *     refused one are written
     */
    public void setMsrs(X86Msrs msrs) {
        Objects.requireNonNull(msrs, "msrs is null");
        run.requireItsThread();
        run.lapicUnknown();
        int total = msrs.numbers().size();
        for (int first = 0; first < total; first += MOST_MSRS) {
            ByteBuffer batch = msrs.structure(first, Math.min(MOST_MSRS, total - first));
            int done = ioctlAt(KernelCall.MSRS_SET, Uapi.KVM_SET_MSRS, batch);
            if (done < batch.getInt(Uapi.KvmMsrs.NMSRS)) {
                int number = X86Msrs.number(batch, done);
                throw new MsrRefusedException(
                        number,
                        calls.fd() + ": MSR " + X86Msr.text(number) + " = 0x"
                                + Long.toHexString(msrs.get(number)) + " was not written, " + (first + done)
                                + " before it were: " + refusal(number));
            }
        }
    }

    private String refusal(int number) {
        ByteBuffer msr = new X86Msrs().set(number, 0).structure(0, 1);
        boolean known = ioctlAt(KernelCall.MSRS_GET, Uapi.KVM_GET_MSRS, msr) == 1;
        return known
                ? "it does not accept this value (reserved bits, a non-canonical address, or a read-only register)"
                : UNKNOWN + "; set the CPUID first";
    }

    /** The rate of the vCPU's time stamp counter in kHz. */
    public int tscKilohertz() {
        run.requireItsThread();
        return calls.value(KernelCall.TSC_RATE, Uapi.KVM_GET_TSC_KHZ, 0);
    }

    /**
     * Sets the vCPU's TSC rate.
     *
     * @param kilohertz the rate in kHz; 0 sets the host's rate
     * @throws io.kvmirq.KernelException EINVAL for a rate that the processor's TSC scaling cannot reach
     * @throws IllegalArgumentException if {@code kilohertz} is negative, which the kernel would read as over 2 THz
     */
    public void setTscKilohertz(int kilohertz) {
        if (kilohertz < 0) {
            throw new IllegalArgumentException(
                    "a TSC of " + kilohertz + " kHz is invalid: expected a positive rate, or 0 for that of the host");
        }
        run.requireItsThread();
        calls.value(KernelCall.TSC_RATE, Uapi.KVM_SET_TSC_KHZ, kilohertz);
    }

    /** A copy of the x87 and SSE registers. */
    public X86Fpu fpu() {
        return get(KernelCall.FPU_GET, Uapi.KVM_GET_FPU, new X86Fpu());
    }

    /**
     * Writes the x87 and SSE registers. The guest sees the new values only if bits 0 and 1 of {@link X86Xsave#features}
     * are 1, but in a new vCPU they are 0. {@link #setXsave} sets these bits as well as the registers.
     */
    public void setFpu(X86Fpu fpu) {
        Objects.requireNonNull(fpu, "fpu is null");
        set(KernelCall.FPU_SET, Uapi.KVM_SET_FPU, fpu);
    }

    /** A copy of the extended state (XSAVE area). */
    public X86Xsave xsave() {
        int size = calls.vm().xsaveSize();
        X86Xsave xsave = new X86Xsave(Math.max(size, X86Xsave.LEAST_BYTES));
        long request = size > X86Xsave.LEAST_BYTES ? Uapi.KVM_GET_XSAVE2 : Uapi.KVM_GET_XSAVE;
        ioctlAt(KernelCall.XSAVE_GET, request, xsave.structure);
        return xsave;
    }

    /**
     * Writes the extended state.
     *
     * @throws io.kvmirq.KernelException EINVAL for state that the host lacks, or for the compacted format
     * @throws IllegalArgumentException if {@code xsave} is shorter than this VM's XSAVE areas
     */
    public void setXsave(X86Xsave xsave) {
        Objects.requireNonNull(xsave, "xsave is null");
        int size = calls.vm().xsaveSize();
        if (xsave.size() < size) {
            throw new IllegalArgumentException("an XSAVE area of " + xsave.size() + " bytes: this VM's have " + size
                    + ", as KVM_CAP_XSAVE2 reports");
        }
        ioctlAt(KernelCall.XSAVE_SET, Uapi.KVM_SET_XSAVE, xsave.structure);
    }

    /** XCR0, the extended state that the guest enabled: bit 0 x87, bit 1 SSE, bit 2 AVX. KVM supports no other XCR. */
    public long xcr0() {
        ByteBuffer xcrs = Buffers.allocate(Uapi.KvmXcrs.SIZE);
        ioctl(KernelCall.XCRS_GET, Uapi.KVM_GET_XCRS, xcrs);
        return xcrs.getLong(Uapi.KvmXcrs.XCRS + Uapi.KvmXcr.VALUE);
    }

    /**
     * Sets XCR0, the extended state that the guest enabled.
     *
     * @throws io.kvmirq.KernelException EINVAL for bits that leaf 0xd of the vCPU's CPUID lacks, or if bit 0 is 0
     */
    public void setXcr0(long value) {
        ByteBuffer xcrs = Buffers.allocate(Uapi.KvmXcrs.SIZE)
                .putInt(Uapi.KvmXcrs.NR_XCRS, 1)
                .putLong(Uapi.KvmXcrs.XCRS + Uapi.KvmXcr.VALUE, value);
        ioctl(KernelCall.XCRS_SET, Uapi.KVM_SET_XCRS, xcrs);
    }

    /** A copy of the pending exceptions, injected interrupts and NMIs. */
    public X86Events events() {
        return get(KernelCall.EVENTS_GET, Uapi.KVM_GET_VCPU_EVENTS, new X86Events());
    }

    /**
     * Sets the pending exceptions, injected interrupts and NMIs.
     *
     * @throws io.kvmirq.KernelException EINVAL for an invalid exception vector, or for System Management Mode on a
     *     kernel without it
     */
    public void setEvents(X86Events events) {
        Objects.requireNonNull(events, "events is null");
        set(KernelCall.EVENTS_SET, Uapi.KVM_SET_VCPU_EVENTS, events);
    }

    /** A copy of the debug registers. */
    public X86DebugRegisters debugRegisters() {
        return get(KernelCall.DEBUG_GET, Uapi.KVM_GET_DEBUGREGS, new X86DebugRegisters());
    }

    /**
     * Writes the debug registers.
     *
     * @throws io.kvmirq.KernelException EINVAL if DR6 or DR7 has more than 32 bits
     */
    public void setDebugRegisters(X86DebugRegisters registers) {
        Objects.requireNonNull(registers, "registers is null");
        set(KernelCall.DEBUG_SET, Uapi.KVM_SET_DEBUGREGS, registers);
    }

    /**
     * A copy of the LAPIC's registers.
     *
     * @throws io.kvmirq.KernelException EINVAL without an in-kernel irqchip
     */
    public X86Lapic lapic() {
        return get(KernelCall.LAPIC_GET, Uapi.KVM_GET_LAPIC, new X86Lapic());
    }

    /**
     * Writes the LAPIC registers.
     *
     * @throws io.kvmirq.KernelException EINVAL without an in-kernel irqchip; after {@link X86Vm#use32BitApicIds}, in
     *     x2APIC mode also if ID is not the vCPU's id
     */
    public void setLapic(X86Lapic next) {
        Objects.requireNonNull(next, "next is null");
        set(KernelCall.LAPIC_SET, Uapi.KVM_SET_LAPIC, next);
        run.lapicSet(next);
    }

    /**
     * Makes the guest start in real mode, with code segment 0 and interrupts disabled. Throws IllegalArgumentException
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
     * Sets the LAPIC's software-enable bit (SVR bit 8), as a guest does at boot.
     *
     * @throws io.kvmirq.KernelException EINVAL without an in-kernel irqchip
     */
    public void enableLapic() {
        X86Lapic now = lapicNow();
        setLapic(now.set(X86Lapic.Name.SVR, now.get(X86Lapic.Name.SVR) | Uapi.KvmLapicState.SVR_ENABLE));
    }

    /**
     * Switches the LAPIC to x2APIC mode and software-enables it, as a guest does at boot. Set a CPUID with x2APIC
     * first, such as {@link Cpuid#ofHost}.
     *
     * @throws io.kvmirq.KernelException EINVAL if the vCPU's CPUID lacks x2APIC, or without an in-kernel irqchip
     */
    public void enableX2apic() {
        X86SystemRegisters now = systemRegisters();
        X86SystemRegisters.Name base = X86SystemRegisters.Name.APIC_BASE;
        setSystemRegisters(now.set(base, now.get(base) | X2APIC));
        enableLapic();
    }

    /** Whether {@code vector} is set in the LAPIC's interrupt request register. */
    public boolean isRequested(InterruptVector vector) {
        int word = Uapi.KvmLapicState.IRR
                + Objects.requireNonNull(vector, "vector is null").number() / 32 * 16;
        return (lapicNow().get(word) >>> vector.number() % 32 & 1) == 1;
    }
}
