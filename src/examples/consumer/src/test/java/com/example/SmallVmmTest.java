/* SPDX-License-Identifier: Apache-2.0 */
package com.example;

import static io.kvmirq.junit.KvmAssertions.*;

import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.junit.*;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;

class SmallVmmTest {
    @KvmTest(real = Real.IF_PRESENT)
    void emulatedInterruptArrivesOnce(KvmHost host, Vm vm) {
        try (SmallVmm vmm = new SmallVmm(vm)) {
            vmm.irq(0, vector(0x31)).raise();
            assertThat(host.vcpu(0)).received(vector(0x31), once());
        }
    }

    @KvmTest(real = Real.IF_PRESENT)
    void maskKeepsOneInterrupt(KvmHost host, Vm vm) {
        try (SmallVmm vmm = new SmallVmm(vm)) {
            MaskableIrq irq = vmm.irq(0, vector(0x31));
            irq.mask();
            irq.raise();
            irq.raise();
            assertThat(host.vcpu(0)).received(vector(0x31), notAtAll());
            irq.unmask();
            assertThat(host.vcpu(0)).received(vector(0x31), once());
        }
    }

    @KvmTest(profiles = {"6.18", "vtd-posting"})
    void passedVectorsArrive(KvmHost host, Vm vm, FakePciDevice nic, VfioDevice device) {
        try (SmallVmm vmm = new SmallVmm(vm)) {
            vmm.pass(device, 4, 0, vector(0x40));
            nic.sendMessage(3);
            assertThat(host.vcpu(0)).received(vector(0x43), once());
            assertThat(host).lostNothing().commits(1);
        }
    }

    @KvmTest
    @EveryCallInTurn(errno = "ENOMEM")
    void aCallThatFailsLeavesNothing(Kernel kernel) {
        try (Vm vm = Vm.create(kernel);
                SmallVmm vmm = new SmallVmm(vm)) {
            vm.x86().createIrqchip();
            vmm.irq(0, vector(0x31));
        }
    }

    @Interleavings
    void passedVectorArrivesOnceInEveryOrder(Actors actors, KvmHost host, Vm vm, FakePciDevice nic, VfioDevice device) {
        SmallVmm vmm = actors.closing(new SmallVmm(vm));
        List<ForwardedIrq> irqs = vmm.pass(device, 1, 0, vector(0x40));
        actors.add("device", () -> nic.sendMessage(0));
        actors.add("vcpu", () -> irqs.get(0).mask(), () -> irqs.get(0).unmask());
        actors.after(() -> assertThat(host.vcpu(0)).received(vector(0x40), once()));
    }

    @Interleavings
    void unmaskLosesNothing(Actors actors, KvmHost host, Vm vm) {
        SmallVmm vmm = actors.closing(new SmallVmm(vm));
        unmask(actors, host, vmm.irq(0, vector(0x33)));
    }

    /** A device raises an interrupt while a vCPU masks and unmasks it. */
    static void unmask(Actors actors, KvmHost host, MaskableIrq irq) {
        actors.add("device", irq::raise);
        actors.add("vcpu", irq::mask, irq::beginUnmask, irq::endUnmask);
        actors.after(() -> assertThat(host.vcpu(0)).received(vector(0x33), once()));
    }
}
