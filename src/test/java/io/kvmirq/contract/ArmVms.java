/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;

import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import org.junit.jupiter.api.AfterEach;

/** The typed objects of arm64 on the kernel of a world, all closed after a test. */
abstract class ArmVms {
    static final VcpuId FIRST = new VcpuId(0);
    static final VcpuId SECOND = new VcpuId(1);
    static final long DISTRIBUTOR = 0x800_0000L;
    static final long ITS = 0x808_0000L;
    static final long REDISTRIBUTORS = 0x80a_0000L;
    /** Beyond the 40 bits that a VM has by default. */
    static final long BEYOND = 1L << 40;

    final World world;
    final Undo made = new Undo();
    final Kernel kernel;

    ArmVms(World world) {
        this.world = world;
        this.kernel = made.add(Kernel.over(world.kernel()));
    }

    @AfterEach
    void close() {
        made.close();
        world.closeAll();
    }

    Vm vm() {
        return made.add(Vm.create(kernel));
    }

    Vcpu vcpu(Vm vm, int id) {
        return made.add(vm.createVcpu(new VcpuId(id)));
    }

    /** Not initialized; the VM has one vCPU. */
    VgicV3 vgic(Vm vm) {
        vcpu(vm, 0);
        return made.add(vm.arm64().createVgicV3());
    }

    VgicV3 ready(Vm vm) {
        VgicV3 vgic = vgic(vm);
        vgic.init();
        return vgic;
    }

    /** Not initialized; the VM has two vCPUs, which are. */
    VgicV3 vgicOfTwo(Vm vm) {
        vcpu(vm, 0).arm64().initialize();
        vcpu(vm, 1).arm64().initialize();
        return made.add(vm.arm64().createVgicV3());
    }

    /** Makes a GICv2 without a descriptor. */
    int createIrqchip(Vm vm) {
        return world.kernel().irqchipCreate(Numbers.of(vm.fd()));
    }

    EventFd event() {
        return made.add(EventFd.create(kernel));
    }

    static void latched(VgicV3 vgic, Spi spi) {
        eventually(spi + " is latched", () -> vgic.isLatched(spi));
    }
}
