/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeArmVcpu;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakeVcpu;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestGic;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import java.util.function.IntConsumer;
import java.util.function.IntSupplier;

/** A guest with one vCPU that takes a level-triggered line of its IOAPIC or GICv3. */
record LineGuest(Vm vm, IntSupplier acknowledge, IntConsumer end) {
    static final Gsi PIN = new Gsi(11);
    private static final InterruptVector VECTOR = new InterruptVector(0x51);
    private static final Spi SPI = new Spi(Spi.FIRST + PIN.number());
    private static final int NONE = 1023;

    /** A guest of the architecture of the profile, which names the host's interrupt hardware. */
    static LineGuest of(FakeKernel fake, Kernel kernel, Undo made) {
        Vm vm = made.add(Vm.create(kernel));
        return vm.isArm64() ? arm64(fake, vm, made) : x86(fake, vm, made);
    }

    private static LineGuest x86(FakeKernel fake, Vm vm, Undo made) {
        vm.x86().createIrqchip();
        made.add(vm.createVcpu(new VcpuId(0))).x86().enableLapic();
        vm.x86().setIoapic(vm.x86().ioapic().levelPin(new Route.Pin(PIN, Route.Chip.IOAPIC, PIN.number()), VECTOR));
        FakeVcpu vcpu = fake.vcpus().get(fake.vcpus().size() - 1);
        vcpu.enterGuest();
        return new LineGuest(
                vm, () -> vcpu.acknowledge().map(InterruptVector::number).orElse(NONE), taken -> vcpu.end());
    }

    private static LineGuest arm64(FakeKernel fake, Vm vm, Undo made) {
        Vcpu created = made.add(vm.createVcpu(new VcpuId(0)));
        created.arm64().initialize();
        VgicV3 vgic = new GuestIts(vm, 1, made).vgic();
        GuestGic.enable(vgic, SPI);
        vgic.makeLevel(SPI);
        FakeArmVcpu vcpu = fake.armVcpu(Numbers.of(vm.fd()), created.id());
        return new LineGuest(vm, vcpu::acknowledge, vcpu::end);
    }

    /**
     * Takes the interrupt of the line, if there is one, runs the handler and ends it. Returns whether there was one.
     */
    boolean take(Runnable handler) {
        int taken = acknowledge.getAsInt();
        if (taken == NONE) {
            return false;
        }
        handler.run();
        end.accept(taken);
        return true;
    }
}
