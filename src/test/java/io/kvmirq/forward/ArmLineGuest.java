/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeArmVcpu;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestGic;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;

/** An arm64 guest with a GICv3. */
final class ArmLineGuest implements LineGuest {
    private static final Spi SPI = new Spi(Spi.FIRST + PIN.number());
    private static final int NONE = 1023;

    private final Vm vm;
    private final FakeArmVcpu vcpu;

    ArmLineGuest(FakeKernel fake, Vm vm, Undo made) {
        this.vm = vm;
        made.add(vm.createVcpu(new VcpuId(0))).arm64().initialize();
        VgicV3 vgic = new GuestIts(vm, 1, made).vgic();
        GuestGic.enable(vgic, SPI);
        vgic.makeLevel(SPI);
        vcpu = fake.armVcpu(Numbers.of(vm.fd()), new VcpuId(0));
    }

    @Override
    public Vm vm() {
        return vm;
    }

    @Override
    public boolean take(Runnable handler) {
        int taken = vcpu.acknowledge();
        if (taken == NONE) {
            return false;
        }
        handler.run();
        vcpu.end(taken);
        return true;
    }
}
