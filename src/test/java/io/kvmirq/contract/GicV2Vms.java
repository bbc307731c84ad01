/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import io.kvmirq.backend.Buffers;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kvm.VgicV2;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Numbers;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;

/** VMs with a GICv2, and the calls on it that the typed objects do not make. */
abstract class GicV2Vms extends ArmVms {
    static final long CPU_INTERFACE = 0x801_0000L;
    /** The offset of GICD_ISENABLER. */
    static final int ENABLED = 0x100;
    /** The offset of GICD_ISPENDR. */
    static final int PENDING = 0x200;

    GicV2Vms(World world) {
        super(world);
    }

    /** Not initialized; the VM has this number of vCPUs. */
    VgicV2 gicV2(Vm vm, int vcpus) {
        for (int i = 0; i < vcpus; i++) {
            vcpu(vm, i).arm64().initialize();
        }
        return made.add(vm.arm64().createVgicV2());
    }

    VgicV2 readyGicV2(Vm vm, int vcpus) {
        VgicV2 vgic = gicV2(vm, vcpus);
        vgic.init();
        return vgic;
    }

    /** A request with a structure, as the kernel answers it. */
    int ioctl(Fd on, long request, ByteBuffer structure) {
        return world.kernel().libc().ioctl(Numbers.of(on), request, structure);
    }

    /** A request about an attribute, as the kernel answers it. */
    int attribute(Fd device, long request, int group, long attribute, long value) {
        ByteBuffer memory = Buffers.allocate(Long.BYTES).putLong(0, value);
        long address = world.kernel().libc().addressOf(memory);
        try {
            return ioctl(device, request, Structs.of("kvm_device_attr", 0, group, attribute, address));
        } finally {
            Reference.reachabilityFence(memory);
        }
    }

    int get(VgicV2 vgic, int group, long attribute) {
        return attribute(vgic.fd(), Uapi.KVM_GET_DEVICE_ATTR, group, attribute, 0);
    }

    int set(VgicV2 vgic, int group, long attribute, long value) {
        return attribute(vgic.fd(), Uapi.KVM_SET_DEVICE_ATTR, group, attribute, value);
    }

    int has(VgicV2 vgic, int group, long attribute) {
        return attribute(vgic.fd(), Uapi.KVM_HAS_DEVICE_ATTR, group, attribute, 0);
    }

    /** Sets a line, also of a GICv2 that is not initialized. */
    int line(Vm vm, int word, int level) {
        return ioctl(vm.fd(), Uapi.KVM_IRQ_LINE, Structs.of("kvm_irq_level", word, level));
    }
}
