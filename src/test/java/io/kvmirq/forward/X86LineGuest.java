/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.InterruptVector;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakeVcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;

/** An x86 guest with an in-kernel IOAPIC. The profile names the host's interrupt hardware. */
final class X86LineGuest implements LineGuest {
    private static final InterruptVector VECTOR = new InterruptVector(0x51);

    private final Vm vm;
    private final FakeVcpu vcpu;

    X86LineGuest(FakeKernel fake, Vm vm, Undo made) {
        this.vm = vm;
        vm.x86().createIrqchip();
        made.add(vm.createVcpu(new VcpuId(0))).x86().enableLapic();
        vm.x86().setIoapic(vm.x86().ioapic().levelPin(new Route.Pin(PIN, Route.Chip.IOAPIC, PIN.number()), VECTOR));
        vcpu = fake.vcpus().get(fake.vcpus().size() - 1);
        vcpu.enterGuest();
    }

    @Override
    public Vm vm() {
        return vm;
    }

    @Override
    public boolean take(Runnable handler) {
        if (vcpu.acknowledge().isEmpty()) {
            return false;
        }
        handler.run();
        vcpu.end();
        return true;
    }
}
