/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.KernelException;
import io.kvmirq.VcpuId;
import io.kvmirq.X86Msr;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** State of a vCPU beside its general, segment and control registers. */
class X86StateTest {
    private Kernel kernel;
    private Vm vm;
    private Vcpu vcpu;

    private void open(Kernels kernels) {
        kernel = kernels.open();
        vm = Vm.create(kernel);
        vm.x86().createIrqchip();
        vcpu = vm.createVcpu(new VcpuId(0));
    }

    @AfterEach
    void close() {
        if (vcpu != null) {
            vcpu.close();
            vm.close();
            kernel.close();
        }
    }

    // MSRs

    @OnBothKernels
    void msrsOfTheHostAreSavedAndRestored(Kernels kernels) {
        open(kernels);
        vcpu.x86().useHostCpuid();
        X86Msrs saved = vcpu.x86().msrs();
        assertThat(saved.numbers()).contains(X86Msr.LSTAR.number(), X86Msr.TSC.number());
        // No PEBS and no BTS on SVM and VMX; a KVM without hardware virtualization has fast strings instead.
        assertThat(saved.get(X86Msr.MISC_ENABLE)).isIn(0x1800L, 1L);
        vcpu.x86().setMsrs(saved.set(X86Msr.LSTAR, 0xffff_ffff_8100_0000L));
        X86Msrs lstar = vcpu.x86().msrs(new X86Msrs().set(X86Msr.LSTAR, 0));
        assertThat(lstar).hasToString("0xc0000082 (LSTAR)=0xffffffff81000000");
        assertThat(lstar.remove(X86Msr.LSTAR.number()).numbers()).isEmpty();
    }

    /** KVM on Intel lists MSRs that a vCPU without VMX does not have, in the midst of others or as the last ones. */
    @Test
    void msrThatTheVcpuLacksIsLeftOut() {
        try (Kernel intel = new FakeKernel(Profile.parse("6.12,vtd-posting")).open();
                Vm vm = Vm.create(intel);
                Vcpu without = vm.createVcpu(new VcpuId(0))) {
            List<Integer> listed = X86Msrs.ofHost(intel).numbers();
            assertThat(listed.stream().filter(number -> number >= 0x480 && number <= 0x491))
                    .containsExactly(
                            0x480, 0x48d, 0x48e, 0x48f, 0x490, 0x485, 0x486, 0x488, 0x48a, 0x48b, 0x48c, 0x491);
            assertThat(without.x86().msrs().numbers())
                    .containsExactlyElementsOf(listed.stream()
                            .filter(number -> number < 0x480 || number > 0x491)
                            .toList());
            X86Msrs lstar = new X86Msrs().set(X86Msr.LSTAR, 0);
            assertThatThrownBy(() -> without.x86().msrs(lstar.set(0x480, 0)))
                    .isInstanceOf(MsrRefusedException.class)
                    .hasMessageContaining("MSR 0x480 was not read", "X86Vcpu.msrs() reads all that it has");
        }
    }

    /** One call takes 255. */
    @OnBothKernels
    void manyMsrsAreReadInSeveralCalls(Kernels kernels) {
        open(kernels);
        X86Msrs many = new X86Msrs();
        for (int number = 0; number < 300; number++) {
            many.set(0x2000_0000 + number, number);
        }
        assertThatThrownBy(() -> vcpu.x86().setMsrs(many))
                .hasMessageContaining("MSR 0x20000000 = 0x0 was not written, 0");
        X86Msrs none = new X86Msrs();
        assertThat(vcpu.x86().msrs(none).numbers()).isEmpty();
        vcpu.x86().setMsrs(none);
    }

    @OnBothKernels
    void refusedMsrIsNamedWithTheReason(Kernels kernels) {
        open(kernels);
        X86Msrs wrong =
                new X86Msrs().set(X86Msr.STAR, 5).set(X86Msr.LSTAR, 1L << 62).set(X86Msr.CSTAR, 7);
        assertThatThrownBy(() -> vcpu.x86().setMsrs(wrong))
                .isInstanceOfSatisfying(
                        MsrRefusedException.class, e -> assertThat(e.number()).isEqualTo(X86Msr.LSTAR.number()))
                .hasMessageContaining("MSR 0xc0000082 (LSTAR) = 0x4000000000000000 was not written, 1 before it were:"
                        + " it does not accept this value");
        assertThat(vcpu.x86().msrs(wrong).get(X86Msr.STAR)).isEqualTo(5);
        assertThat(vcpu.x86().msrs(wrong).get(X86Msr.CSTAR)).isZero();
        X86Msrs unknown = new X86Msrs().set(0x12345678, 1);
        assertThatThrownBy(() -> vcpu.x86().setMsrs(unknown))
                .hasMessageContaining("MSR 0x12345678 = 0x1 was not written, 0 before it were: neither KVM");
        assertThatThrownBy(() -> vcpu.x86().msrs(unknown))
                .isInstanceOf(MsrRefusedException.class)
                .hasMessageContaining("MSR 0x12345678 was not read: neither KVM on this host nor the vCPU's CPUID");
        assertThatThrownBy(() -> unknown.get(X86Msr.STAR))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("MSR 0xc0000081 (STAR) is not among these 1 registers");
    }

    // Floating point

    private static byte[] pattern(int first) {
        byte[] bytes = new byte[16];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) (first + i);
        }
        return bytes;
    }

    @OnBothKernels
    void fpuIsKept(Kernels kernels) {
        open(kernels);
        assertThat(vcpu.x86().fpu().get(X86Fpu.Name.FCW)).isEqualTo(0x37f);
        ByteBuffer state = ByteBuffer.wrap(vcpu.x86().fpu().bytes());
        for (int i = 0; i < 8; i++) {
            state.put(Uapi.KvmFpu.FPR + 16 * i, pattern(i));
        }
        for (int i = 0; i < 16; i++) {
            state.put(Uapi.KvmFpu.XMM + 16 * i, pattern(0x80 + i));
        }
        X86Fpu fpu = X86Fpu.fromBytes(state.array());
        for (X86Fpu.Name name : X86Fpu.Name.values()) {
            fpu.set(name, 0xe0 + name.ordinal());
        }
        vcpu.x86().setFpu(fpu);
        X86Fpu read = vcpu.x86().fpu();
        for (X86Fpu.Name name : X86Fpu.Name.values()) {
            assertThat(read.get(name)).isEqualTo(0xe0 + name.ordinal());
        }
        assertThat(read.st(7)).isEqualTo(pattern(7));
        assertThat(read.xmm(15)).isEqualTo(pattern(0x8f));
        assertThatThrownBy(() -> read.st(8)).hasMessage("ST8: expected 0 to 7");
    }

    @OnBothKernels
    void extendedStateIsKept(Kernels kernels) {
        open(kernels);
        X86Xsave state = vcpu.x86().xsave();
        assertThat(state.size()).isGreaterThanOrEqualTo(4096);
        state.setFeatures(3).setMxcsr(0x1fa0).putLong(160, 0x1122334455667788L);
        vcpu.x86().setXsave(X86Xsave.fromBytes(state.bytes()));
        X86Xsave read = vcpu.x86().xsave();
        assertThat(read.features()).isEqualTo(3);
        assertThat(read.mxcsr()).isEqualTo(0x1fa0);
        assertThat(read.getLong(160)).isEqualTo(0x1122334455667788L);
        assertThat(vcpu.x86().fpu().xmm(0)).startsWith(0x88, 0x77);
        assertThatThrownBy(() -> vcpu.x86().setXsave(read.setFeatures(1L << 62)))
                .isInstanceOf(KernelException.class)
                .hasMessageContaining("the area contains state that this host does not support");
        assertThatThrownBy(() -> X86Xsave.fromBytes(Arrays.copyOf(read.bytes(), 512)))
                .hasMessageStartingWith("an XSAVE area of 512 bytes: expected 4096 or more");
    }

    @OnBothKernels
    void xcr0FollowsTheCpuid(Kernels kernels) {
        open(kernels);
        assertThat(vcpu.x86().xcr0()).isOne();
        vcpu.x86().setXcr0(1);
        assertThatThrownBy(() -> vcpu.x86().setXcr0(3)).hasMessageContaining("the vCPU's CPUID does not offer");
    }

    // Events, debug registers, LAPIC, state

    @OnBothKernels
    void eventsAreKept(Kernels kernels) {
        open(kernels);
        X86Events events = vcpu.x86().events();
        for (X86Events.Name name : X86Events.Name.values()) {
            assertThat(events.get(name)).as(name.name()).isZero();
        }
        events.set(X86Events.Name.INTERRUPT_INJECTED, 1)
                .set(X86Events.Name.INTERRUPT_VECTOR, 0x31)
                .set(X86Events.Name.NMI_PENDING, 1)
                .set(X86Events.Name.NMI_MASKED, 1)
                .set(X86Events.Name.INIT_LATCHED, 1)
                .set(X86Events.Name.SIPI_VECTOR, 0x12);
        vcpu.x86().setEvents(events);
        X86Events read = vcpu.x86().events();
        assertThat(read.get(X86Events.Name.INTERRUPT_INJECTED)).isOne();
        assertThat(read.get(X86Events.Name.INTERRUPT_VECTOR)).isEqualTo(0x31);
        assertThat(read.get(X86Events.Name.NMI_PENDING)).isOne();
        assertThat(read.get(X86Events.Name.NMI_MASKED)).isOne();
        assertThat(read.get(X86Events.Name.INIT_LATCHED)).isOne();
        read.set(X86Events.Name.EXCEPTION_INJECTED, 1).set(X86Events.Name.EXCEPTION_VECTOR, 32);
        assertThatThrownBy(() -> vcpu.x86().setEvents(read)).hasMessageContaining("an exception is 0 to 31");
    }

    @OnBothKernels
    void debugRegistersAreKept(Kernels kernels) {
        open(kernels);
        X86DebugRegisters registers = vcpu.x86().debugRegisters();
        assertThat(registers.get(X86DebugRegisters.Name.DR7)).isEqualTo(0x400);
        for (X86DebugRegisters.Name name : X86DebugRegisters.Name.values()) {
            registers.set(name, 0x400 + name.ordinal());
        }
        vcpu.x86().setDebugRegisters(registers);
        X86DebugRegisters read = vcpu.x86().debugRegisters();
        for (X86DebugRegisters.Name name : X86DebugRegisters.Name.values()) {
            assertThat(read.get(name)).isEqualTo(0x400 + name.ordinal());
        }
        assertThatThrownBy(() -> vcpu.x86().setDebugRegisters(read.set(X86DebugRegisters.Name.DR6, 1L << 32)))
                .hasMessageContaining("DR6 and DR7 have 32 bits");
    }

    @OnBothKernels
    void lapicIsKept(Kernels kernels) {
        open(kernels);
        X86Lapic lapic = vcpu.x86().lapic();
        assertThat(lapic.get(X86Lapic.Name.LVT_LINT0)).as("of the boot vCPU").isEqualTo(0x700);
        vcpu.x86().setLapic(lapic.set(X86Lapic.Name.LVT_LINT1, 0x400).set(0x80, 0x20));
        assertThat(vcpu.x86().lapic().get(0x360)).isEqualTo(0x400);
        assertThat(vcpu.x86().lapic().get(X86Lapic.Name.TPR)).isEqualTo(0x20);
        for (int none : new int[] {-16, 4, 0x400}) {
            assertThatThrownBy(() -> lapic.get(none)).hasMessageContaining("no register of a LAPIC has the offset");
        }
    }

    @OnBothKernels
    void stateIsKept(Kernels kernels) {
        open(kernels);
        assertThat(vcpu.state()).isEqualTo(VcpuState.RUNNABLE);
        vcpu.setState(VcpuState.HALTED);
        assertThat(vcpu.state()).isEqualTo(VcpuState.HALTED);
        assertThatThrownBy(() -> vcpu.setState(VcpuState.STOPPED))
                .isInstanceOf(KernelException.class)
                .hasMessageContaining("EINVAL (x86 has no such state");
        try (Vcpu second = vm.createVcpu(new VcpuId(1))) {
            assertThat(second.state()).isEqualTo(VcpuState.UNINITIALIZED);
        }
    }

    @OnBothKernels
    void waitingFaultsAreEvents(Kernels kernels) {
        open(kernels);
        vm.x86().reportWaitingFaults();
        X86Events events = vcpu.x86()
                .events()
                .set(X86Events.Name.EXCEPTION_PENDING, 1)
                .set(X86Events.Name.EXCEPTION_VECTOR, 14)
                .set(X86Events.Name.EXCEPTION_HAS_PAYLOAD, 1)
                .set(X86Events.Name.EXCEPTION_PAYLOAD, 0x1234)
                .set(X86Events.Name.TRIPLE_FAULT_PENDING, 1);
        vcpu.x86().setEvents(events);
        X86Events read = vcpu.x86().events();
        assertThat(read.get(X86Events.Name.EXCEPTION_PENDING)).isOne();
        assertThat(read.get(X86Events.Name.EXCEPTION_PAYLOAD)).isEqualTo(0x1234);
        assertThat(read.get(X86Events.Name.TRIPLE_FAULT_PENDING)).isOne();
    }

    @OnBothKernels
    void stateTravelsAsBytes(Kernels kernels) {
        open(kernels);
        X86Registers registers = vcpu.x86().registers().set(X86Registers.Name.RIP, 0x1234);
        vcpu.x86().setRegisters(X86Registers.fromBytes(registers.bytes()));
        assertThat(vcpu.x86().registers().difference(registers)).isEmpty();
        assertThatThrownBy(() -> registers.difference(null)).hasMessage("other is null");
        assertThatThrownBy(() -> registers.get(null)).hasMessage("name is null");
        assertThatThrownBy(() -> registers.set(null, 1)).hasMessage("name is null");
        X86SystemRegisters system = vcpu.x86().systemRegisters().set(X86SystemRegisters.Name.CR2, 0x5000);
        vcpu.x86().setSystemRegisters(X86SystemRegisters.fromBytes(system.bytes()));
        assertThat(vcpu.x86().systemRegisters().difference(system)).isEmpty();
        X86Fpu fpu = vcpu.x86().fpu().set(X86Fpu.Name.FOP, 0x123);
        vcpu.x86().setFpu(X86Fpu.fromBytes(fpu.bytes()));
        assertThat(vcpu.x86().fpu().difference(fpu)).isEmpty();
        X86Events events = vcpu.x86().events().set(X86Events.Name.NMI_MASKED, 1);
        vcpu.x86().setEvents(X86Events.fromBytes(events.bytes()));
        assertThat(vcpu.x86().events().difference(events)).isEmpty();
        X86DebugRegisters debug = vcpu.x86().debugRegisters().set(X86DebugRegisters.Name.DR0, 0x1000);
        vcpu.x86().setDebugRegisters(X86DebugRegisters.fromBytes(debug.bytes()));
        assertThat(vcpu.x86().debugRegisters().difference(debug)).isEmpty();
        X86Lapic lapic = vcpu.x86().lapic().set(X86Lapic.Name.TPR, 0x20);
        vcpu.x86().setLapic(X86Lapic.fromBytes(lapic.bytes()));
        assertThat(vcpu.x86().lapic().get(X86Lapic.Name.TPR)).isEqualTo(0x20);
        assertThatThrownBy(() -> X86Lapic.fromBytes(new byte[4]))
                .hasMessage("4 bytes for X86Lapic: expected 1024, as bytes() returns");
    }

    @OnBothKernels
    void differenceNamesItsField(Kernels kernels) {
        open(kernels);
        X86Registers registers = vcpu.x86().registers().set(X86Registers.Name.RIP, 0x1000);
        X86Registers changed = X86Registers.fromBytes(registers.bytes()).set(X86Registers.Name.RIP, 0x2001);
        assertThat(registers.difference(changed)).contains("RIP=0x1000, not RIP=0x2001");
        X86SystemRegisters system = vcpu.x86().systemRegisters();
        X86Segment data = new X86Segment(16, 32, 8, X86Segment.DATA_32);
        X86SystemRegisters other =
                X86SystemRegisters.fromBytes(system.bytes()).setSegment(X86SystemRegisters.Segment.DS, data);
        assertThat(other.difference(system).orElseThrow()).startsWith("DS X86Segment[base=16, limit=32, selector=8");
        assertThat(other.setIdt(0, 5).difference(system.setSegment(X86SystemRegisters.Segment.DS, data)))
                .contains("byte 216 0x5, not byte 216 0xff");
        X86Lapic lapic = vcpu.x86().lapic();
        X86Lapic next = X86Lapic.fromBytes(lapic.bytes()).set(X86Lapic.Name.TPR, 0x10);
        assertThat(lapic.difference(next)).contains("TPR=0x0, not TPR=0x10");
        assertThat(lapic.difference(X86Lapic.fromBytes(lapic.bytes()).set(0x210, 5)))
                .contains("register 0x210=0x0, not register 0x210=0x5");
        X86Xsave area = vcpu.x86().xsave();
        assertThat(area.difference(X86Xsave.fromBytes(Arrays.copyOf(area.bytes(), area.size() + 8))))
                .contains(area.size() + " bytes, not " + (area.size() + 8));
    }

    @Test
    void stateOfANewerKernelIsSaid() {
        assertThatThrownBy(() -> VcpuState.of(99)).hasMessageStartingWith("the kernel reports the vCPU state 99");
    }
}
