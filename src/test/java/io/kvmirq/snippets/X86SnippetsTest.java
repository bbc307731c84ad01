/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snippets;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.X86Msr;
import io.kvmirq.junit.KvmTest;
import io.kvmirq.junit.Real;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Cpuid;
import io.kvmirq.kvm.IoapicState;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86DebugRegisters;
import io.kvmirq.kvm.X86Events;
import io.kvmirq.kvm.X86Fpu;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.kvm.X86Msrs;
import io.kvmirq.kvm.X86Pic;
import io.kvmirq.kvm.X86Pit;
import io.kvmirq.kvm.X86Registers;
import io.kvmirq.kvm.X86Segment;
import io.kvmirq.kvm.X86SystemRegisters;
import io.kvmirq.kvm.X86Xsave;
import java.time.Duration;
import java.util.Optional;

/** Examples in the Javadoc of {@code io.kvmirq.kvm}: chips and vCPUs of x86. */
class X86SnippetsTest {
    private final VcpuId first = new VcpuId(0);

    @KvmTest(real = Real.IF_PRESENT)
    void chips(Kernel kernel) {
        // @start region="vm"
        try (Vm vm = Vm.create(kernel)) {
            vm.x86().setTssAddress(0xfffbd000L);
            vm.x86().createIrqchip(); // LAPICs, IOAPIC and PICs in the kernel
            vm.x86().createPit();
            vm.x86().setPitReinjection(false); // on AMD, reinjection inhibits AVIC
            vm.x86().setClock(Duration.ofHours(1));
        }
        // @end
        assertThat(kernel.openHandles()).hasSize(1); // /dev/kvm
    }

    @KvmTest(real = Real.IF_PRESENT)
    void cpuid(Kernel kernel, Vm vm, Vcpu vcpu) {
        // @start region="cpuid"
        Cpuid host = Cpuid.ofHost(kernel);
        Cpuid.Leaf leaf = host.leaf(1, 0).orElseThrow();
        boolean x2apic = (leaf.ecx() & 1 << 21) != 0;
        vcpu.x86().setCpuid(host.forGuestOfKvm().forVcpu(0, 1)); // vCPU 0 of 1
        // @end
        assertThat(vcpu.x86().cpuid()).isPresent();
        assertThat(x2apic).isTrue();
    }

    @KvmTest(real = Real.IF_PRESENT)
    void registers(Vcpu vcpu) {
        // @start region="registers"
        X86Registers registers = vcpu.x86().registers(); // a copy
        registers.set(X86Registers.Name.RIP, 0x1000).set(X86Registers.Name.RFLAGS, 2);
        vcpu.x86().setRegisters(registers);
        // @end
        assertThat(vcpu.x86().registers().get(X86Registers.Name.RIP)).isEqualTo(0x1000);
    }

    @KvmTest(real = Real.IF_PRESENT)
    void system(Vcpu vcpu) {
        // @start region="system"
        X86SystemRegisters system = vcpu.x86().systemRegisters();
        system.setSegment(X86SystemRegisters.Segment.CS, new X86Segment(0, 0xffff, 0, 0x9b)); // real mode at 0
        system.setIdt(0, 0x3ff);
        vcpu.x86().setSystemRegisters(system);
        // @end
        assertThat(vcpu.x86()
                        .systemRegisters()
                        .segment(X86SystemRegisters.Segment.CS)
                        .base())
                .isZero();
    }

    @KvmTest(real = Real.IF_PRESENT)
    void msrs(Vcpu vcpu) {
        // @start region="msrs"
        X86Msrs state = vcpu.x86().msrs(); // each MSR that KVM saves
        long code = state.get(X86Msr.SYSENTER_CS);
        vcpu.x86().setMsrs(new X86Msrs().set(X86Msr.SYSENTER_EIP, 0x1000));
        // @end
        assertThat(code).isZero();
    }

    @KvmTest(real = Real.IF_PRESENT)
    void lapic(Vcpu vcpu) {
        // @start region="lapic"
        vcpu.x86().enableLapic();
        X86Lapic lapic = vcpu.x86().lapic();
        lapic.set(X86Lapic.Name.TPR, 0x20); // vectors up to 0x2f wait
        vcpu.x86().setLapic(lapic);
        boolean waits = vcpu.x86().isRequested(new InterruptVector(0x31));
        // @end
        assertThat(waits).isFalse();
        assertThat(vcpu.x86().lapic().get(X86Lapic.Name.TPR)).isEqualTo(0x20);
    }

    @KvmTest(real = Real.IF_PRESENT)
    void state(Vcpu vcpu) {
        X86Events events = vcpu.x86().events();
        Optional<String> difference;
        // @start region="state"
        X86Xsave xsave = vcpu.x86().xsave(); // FPU, SSE, AVX: with setXsave, all of it
        X86Fpu fpu = vcpu.x86().fpu(); // FPU and SSE alone, to look at
        long controlWord = fpu.get(X86Fpu.Name.FCW);
        vcpu.x86().setXsave(xsave);
        difference = xsave.difference(vcpu.x86().xsave()); // empty: they are equal
        // @end
        vcpu.x86().setEvents(events);
        assertThat(difference).isEmpty();
        assertThat(controlWord).isEqualTo(0x37f);
    }

    @KvmTest(real = Real.IF_PRESENT)
    void debug(Vcpu vcpu) {
        // @start region="debug"
        X86DebugRegisters debug = vcpu.x86().debugRegisters();
        vcpu.x86().setDebugRegisters(debug.set(X86DebugRegisters.Name.DR0, 0x1000));
        boolean nmi = vcpu.x86().events().get(X86Events.Name.NMI_PENDING) != 0;
        // @end
        assertThat(nmi).isFalse();
        assertThat(vcpu.x86().debugRegisters().get(X86DebugRegisters.Name.DR0)).isEqualTo(0x1000);
    }

    /** Without a vCPU: a guest that does not lower the line would take the interrupt again and again. */
    @KvmTest(real = Real.IF_PRESENT)
    void pins(Kernel kernel) {
        try (Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            // @start region="pins"
            Route.Pin pin = new Route.Pin(new io.kvmirq.Gsi(5), Route.Chip.IOAPIC, 5);
            IoapicState ioapic = vm.x86().ioapic().levelPin(pin, new InterruptVector(0x41));
            vm.x86().setIoapic(ioapic); // what a guest's kernel does
            vm.x86().setLine(pin.gsi(), true);
            boolean high = vm.x86().ioapic().isHigh(pin);
            // @end
            assertThat(high).isTrue();
        }
    }

    @KvmTest(real = Real.IF_PRESENT)
    void pic(Vm vm) {
        // @start region="pic"
        X86Pic pic = vm.x86().pic(Route.Chip.PIC_MASTER);
        vm.x86().setPic(pic.set(X86Pic.Name.IMR, 0xff)); // all pins masked
        // @end
        assertThat(vm.x86().pic(Route.Chip.PIC_MASTER).get(X86Pic.Name.IMR)).isEqualTo(0xff);
    }

    @KvmTest(real = Real.IF_PRESENT)
    void pit(Kernel kernel) {
        try (Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            // @start region="pit"
            vm.x86().createPit();
            X86Pit pit = vm.x86().pit();
            boolean ticks = pit.get(X86Pit.Name.MODE_0) != 0xff; // false until the guest sets a mode
            vm.x86().setPit(pit);
            // @end
            assertThat(ticks).isFalse();
        }
    }
}
