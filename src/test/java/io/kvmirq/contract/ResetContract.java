/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.X86Msr;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86DebugRegisters;
import io.kvmirq.kvm.X86Events;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.kvm.X86Msrs;
import io.kvmirq.kvm.X86Registers;
import io.kvmirq.kvm.X86Segment;
import io.kvmirq.kvm.X86State;
import io.kvmirq.kvm.X86SystemRegisters;
import io.kvmirq.kvm.X86SystemRegisters.Segment;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** {@code Vcpu.reset} restores what {@code kvm_vcpu_reset()} gives a new vCPU: arch/x86/kvm/x86.c, lapic.c. */
@Contract
class ResetContract extends KernelSuite {
    private static final long X2APIC = 1 << 10;
    private static final long BOOT = 1 << 8;
    private static final int IRR = 0x220;
    private static final int ISR = 0x120;
    private static final InterruptVector VECTOR = new InterruptVector(0x41);
    /** The type of a segment's descriptor, which SVM and VMX choose differently. */
    private static final int TYPE = 0xf;

    enum Irqchip {
        FULL,
        SPLIT,
        NONE
    }

    private final Undo open = new Undo();
    private Vm vm;

    @BeforeEach
    void needsX86() {
        world.assumeX86();
    }

    @AfterEach
    void closeVm() {
        open.close();
    }

    private void create(Irqchip irqchip) {
        vm = open.add(Vm.create(open.add(Kernel.over(kernel))));
        switch (irqchip) {
            case FULL -> {
                world.assumeFullIrqchip();
                vm.x86().createIrqchip();
            }
            case SPLIT -> vm.x86().createSplitIrqchip(24);
            case NONE -> {}
        }
    }

    private Vcpu vcpu(int id) {
        Vcpu vcpu = open.add(vm.createVcpu(new VcpuId(id)));
        vcpu.x86().useHostCpuid();
        return vcpu;
    }

    /** All state but what counts time. */
    private static Map<String, Object> state(Vcpu vcpu, boolean hasLapic) {
        Map<String, Object> state = new LinkedHashMap<>();
        state.put("state", vcpu.state());
        X86SystemRegisters system = vcpu.x86().systemRegisters();
        for (Segment name : Segment.values()) {
            X86Segment segment = system.segment(name);
            system.setSegment(
                    name,
                    new X86Segment(segment.base(), segment.limit(), segment.selector(), segment.access() & ~TYPE));
        }
        state.put("system", hex(system));
        state.put(
                "registers",
                vcpu.x86().registers().set(X86Registers.Name.RDX, 0).toString());
        state.put("xcr0", vcpu.x86().xcr0());
        state.put("xsave", hex(vcpu.x86().xsave()));
        state.put("debug", vcpu.x86().debugRegisters().toString());
        X86Msrs msrs = vcpu.x86().msrs();
        msrs.remove(X86Msr.TSC.number()).remove(0x40000010).remove(0x40000020); // Hyper-V's clocks
        state.put("msrs", msrs.toString());
        if (hasLapic) {
            state.put("lapic", hex(vcpu.x86().lapic()));
        }
        state.put("events", vcpu.x86().events().toString());
        return state;
    }

    private static String hex(X86State state) {
        return HexFormat.of().formatHex(state.bytes());
    }

    private static void disturb(Vcpu vcpu, boolean hasLapic) {
        X86Registers registers = new X86Registers();
        for (X86Registers.Name name : X86Registers.Name.values()) {
            registers.set(name, 0x1002);
        }
        vcpu.x86().setRegisters(registers);
        X86SystemRegisters system = vcpu.x86().systemRegisters();
        long base = system.get(X86SystemRegisters.Name.APIC_BASE);
        vcpu.x86()
                .setSystemRegisters(system.set(X86SystemRegisters.Name.CR0, 0x11)
                        .set(X86SystemRegisters.Name.CR2, 0x2000)
                        .set(X86SystemRegisters.Name.CR8, 5)
                        .set(X86SystemRegisters.Name.APIC_BASE, hasLapic ? base | X2APIC : base)
                        .setSegment(Segment.CS, new X86Segment(0, -1, 8, 0xc09b))
                        .setSegment(Segment.FS, new X86Segment(0x3000, 0xffff, 0x300, 0x93))
                        .setGdt(0x4000, 0x7f)
                        .setIdt(0x5000, 0x3ff));
        boolean hasXsave = vcpu.x86().cpuid().orElseThrow().leaves().stream()
                .anyMatch(leaf -> leaf.function() == 0xd && leaf.index() == 0 && (leaf.eax() & 2) != 0);
        vcpu.x86().setXcr0(hasXsave ? 3 : 1);
        vcpu.x86().setXsave(vcpu.x86().xsave().setFeatures(3).setMxcsr(0x1f00).putLong(160, 42));
        vcpu.x86()
                .setDebugRegisters(vcpu.x86()
                        .debugRegisters()
                        .set(X86DebugRegisters.Name.DR0, 0x6000)
                        .set(X86DebugRegisters.Name.DR7, 0x401));
        vcpu.x86()
                .setMsrs(new X86Msrs()
                        .set(X86Msr.STAR, 5)
                        .set(X86Msr.PAT, 0x0606_0606_0606_0606L)
                        .set(X86Msr.SYSENTER_EIP, 0x7000)
                        .set(X86Msr.MTRR_DEF_TYPE, 0xc06));
        if (hasLapic) {
            X86Lapic lapic = vcpu.x86().lapic();
            vcpu.x86()
                    .setLapic(lapic.set(X86Lapic.Name.SVR, 0x1ff)
                            .set(X86Lapic.Name.LVT_LINT1, 0x400)
                            .set(X86Lapic.Name.TIMER_DIVIDE, 3)
                            .set(IRR, 2)
                            .set(ISR, 4));
        }
        vcpu.x86()
                .setEvents(vcpu.x86()
                        .events()
                        .set(X86Events.Name.NMI_PENDING, 1)
                        .set(X86Events.Name.NMI_MASKED, 1)
                        .set(X86Events.Name.SHADOW, 1));
        vcpu.setState(VcpuState.RUNNABLE);
    }

    /** As firmware and most VMMs do; a guest may forbid bits of CPUID, which a reset takes back. */
    @Test
    void fastStringsStayEnabled() {
        create(Irqchip.SPLIT);
        Vcpu vcpu = vcpu(0);
        long fresh = vcpu.x86().msrs(new X86Msrs().set(X86Msr.MISC_ENABLE, 0)).get(X86Msr.MISC_ENABLE);
        vcpu.x86().setMsrs(new X86Msrs().set(X86Msr.MISC_ENABLE, fresh | 1 | 1 << 22));
        vcpu.reset();
        assertThat(vcpu.x86().msrs(new X86Msrs().set(X86Msr.MISC_ENABLE, 0)).get(X86Msr.MISC_ENABLE))
                .isEqualTo(fresh | 1);
    }

    /** Twice, so that the second reset is one of a vCPU that was reset. */
    @ParameterizedTest
    @EnumSource
    void resetVcpuIsAsANewOne(Irqchip irqchip) {
        create(irqchip);
        boolean hasLapic = irqchip != Irqchip.NONE;
        for (int id = 0; id < 2; id++) {
            Vcpu vcpu = vcpu(id);
            Map<String, Object> fresh = state(vcpu, hasLapic);
            for (int i = 0; i < 2; i++) {
                disturb(vcpu, hasLapic);
                assertThat(state(vcpu, hasLapic)).isNotEqualTo(fresh);
                vcpu.reset();
                assertThat(state(vcpu, hasLapic)).isEqualTo(fresh);
                assertThat(vcpu.x86()
                                .msrs(new X86Msrs().set(X86Msr.MTRR_DEF_TYPE, 1))
                                .get(X86Msr.MTRR_DEF_TYPE))
                        .isZero();
            }
            assertThat(vcpu.x86().registers().get(X86Registers.Name.RDX))
                    .isEqualTo(Integer.toUnsignedLong(vcpu.x86().cpuid().orElseThrow().leaves().stream()
                            .filter(leaf -> leaf.function() == 1)
                            .findFirst()
                            .orElseThrow()
                            .eax()));
        }
    }

    /** A guest, or a restore, may write bit 8 of APIC_BASE. KVM's own choice stays. */
    @ParameterizedTest
    @EnumSource
    void vcpuThatKvmBootsStaysTheBootVcpu(Irqchip irqchip) {
        create(irqchip);
        try (Fd.Lease number = vm.fd().lease()) {
            assertThat(libc.ioctl(number.number(), Uapi.KVM_SET_BOOT_CPU_ID, 1)).isZero();
        }
        boolean hasLapic = irqchip != Irqchip.NONE;
        for (int id = 0; id < 2; id++) {
            Vcpu vcpu = vcpu(id);
            Map<String, Object> fresh = state(vcpu, hasLapic);
            X86SystemRegisters system = vcpu.x86().systemRegisters();
            long base = system.get(X86SystemRegisters.Name.APIC_BASE);
            assertThat((base & BOOT) != 0).isEqualTo(id == 1);
            vcpu.x86().setSystemRegisters(system.set(X86SystemRegisters.Name.APIC_BASE, base ^ BOOT));
            vcpu.reset();
            assertThat(state(vcpu, hasLapic)).isEqualTo(fresh);
        }
    }

    @Test
    void initAndStartUpBeforeTheResetAreGone() {
        create(Irqchip.FULL);
        Vcpu boot = vcpu(0);
        Vcpu other = vcpu(1);
        boot.x86().enableLapic();
        vm.x86().startProcessor(new VcpuId(1), 0x10);
        other.reset();
        assertThat(other.state()).isEqualTo(VcpuState.UNINITIALIZED);
        boot.reset();
        assertThat(boot.state()).isEqualTo(VcpuState.RUNNABLE);
        assertThat(other.state()).isEqualTo(VcpuState.UNINITIALIZED);
    }

    @Test
    void messageAfterTheResetArrives() {
        create(Irqchip.FULL);
        Vcpu vcpu = vcpu(0);
        vcpu.x86().enableX2apic();
        vm.signal(MsiMessage.to(new VcpuId(0), VECTOR));
        assertThat(vcpu.x86().isRequested(VECTOR)).isTrue();
        vcpu.reset();
        assertThat(vcpu.x86().isRequested(VECTOR)).isFalse();
        assertThat(vm.signal(MsiMessage.to(new VcpuId(0), VECTOR)).vcpus()).isLessThan(1);
        vcpu.x86().enableLapic();
        assertThat(vm.signal(MsiMessage.to(new VcpuId(0), VECTOR)).vcpus()).isOne();
        assertThat(vcpu.x86().isRequested(VECTOR)).isTrue();
    }

    @Test
    void tscsAgreeAfterTheReset() {
        create(Irqchip.SPLIT);
        Vcpu first = vcpu(0);
        Vcpu second = vcpu(1);
        second.x86().setMsrs(new X86Msrs().set(X86Msr.TSC, 1L << 50));
        first.reset();
        second.reset();
        assertThat(Math.abs(tsc(first) - tsc(second))).isLessThan(1L << 49);
    }

    private static long tsc(Vcpu vcpu) {
        return vcpu.x86().msrs(new X86Msrs().set(X86Msr.TSC, 0)).get(X86Msr.TSC);
    }

    // Runs

    private Vcpu running(Irqchip irqchip, String code) {
        create(irqchip);
        Vcpu vcpu = open.add(new AssembledGuest(vm, code)).vcpu;
        vcpu.x86().useHostCpuid();
        return vcpu;
    }

    private static long rax(Vcpu vcpu) {
        return vcpu.x86().registers().get(X86Registers.Name.RAX);
    }

    @ParameterizedTest
    @EnumSource
    void readThatAskedForTheResetEndsBeforeIt(Irqchip irqchip) {
        Vcpu vcpu = running(irqchip, "in al, 0xe0; out 0xe1, al");
        for (int i = 0; i < 3; i++) {
            VcpuExit exit = vcpu.run();
            assertThat(exit.isWrite()).isFalse();
            exit.answer(0x55);
            vcpu.reset();
            assertThat(vcpu.isWithinInstruction()).isFalse();
            assertThat(rax(vcpu)).isZero();
            vcpu.x86().startAt(AssembledGuest.START, AssembledGuest.STACK);
        }
        vcpu.run().answer(0x66);
        assertThat(vcpu.run().port()).isEqualTo(0xe1);
        assertThat(rax(vcpu)).isEqualTo(0x66);
    }

    @Test
    void writeThatAskedForTheResetEndsBeforeIt() {
        Vcpu vcpu = running(Irqchip.SPLIT, "out 0xe0, al; out 0xe1, al");
        assertThat(vcpu.run().port()).isEqualTo(0xe0);
        vcpu.reset();
        vcpu.x86().startAt(AssembledGuest.START, AssembledGuest.STACK);
        assertThat(vcpu.run().port()).isEqualTo(0xe0);
        assertThat(vcpu.run().port()).isEqualTo(0xe1);
    }

    /** Each run without an in-kernel LAPIC loads CR8 from struct kvm_run. */
    @Test
    void priorityIsResetWithoutIrqchip() {
        Vcpu vcpu = running(Irqchip.NONE, "out 0xe0, al; out 0xe1, al");
        try (Fd.Lease number = vcpu.fd().lease()) {
            int size = libc.ioctl(world.kvm(), Uapi.KVM_GET_VCPU_MMAP_SIZE, 0);
            ByteBuffer page = libc.view(world.map(size, number.number()), size);
            page.putLong(Uapi.KvmRun.CR8, 7);
        }
        vcpu.run();
        assertThat(vcpu.x86().systemRegisters().get(X86SystemRegisters.Name.CR8))
                .isEqualTo(7);
        vcpu.reset();
        vcpu.x86().startAt(AssembledGuest.START, AssembledGuest.STACK);
        vcpu.run();
        assertThat(vcpu.x86().systemRegisters().get(X86SystemRegisters.Name.CR8))
                .isZero();
    }

    // Refusals

    @Test
    void vcpuThatRunsInAnotherThreadIsNotReset() throws InterruptedException {
        Vcpu vcpu = running(Irqchip.FULL, "again: out 0xe0, al; jmp again");
        AtomicReference<Optional<Throwable>> ended = new AtomicReference<>(Optional.empty());
        vcpu.x86().setRegisters(vcpu.x86().registers().set(X86Registers.Name.RBX, 0x77));
        Thread thread = new Thread(
                () -> {
                    try {
                        vcpu.moveHere();
                        while (vcpu.run().reason() == VcpuExit.Reason.IO) {
                            ended.get();
                        }
                    } catch (RuntimeException e) {
                        ended.set(Optional.of(e));
                    }
                },
                "owner");
        thread.start();
        World.eventually("the thread has the vCPU", () -> !isHere(vcpu));
        assertThatThrownBy(vcpu::reset)
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContainingAll("belongs to thread 'owner'", "move it with moveHere");
        vcpu.kick();
        thread.join();
        vcpu.moveHere();
        assertThat(ended.get()).isEmpty();
        assertThat(vcpu.x86().registers().get(X86Registers.Name.RBX)).isEqualTo(0x77);
        vcpu.close();
        assertThatThrownBy(vcpu::reset).isInstanceOf(ClosedHandleException.class);
    }

    private static boolean isHere(Vcpu vcpu) {
        try {
            vcpu.isWithinInstruction();
            return true;
        } catch (IllegalStateException e) {
            return false;
        }
    }
}
