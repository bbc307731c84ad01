/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;

/** VMs of arm64. */
final class ArmGuests {
    private static final long ITS = 0x808_0000;
    private static final int DEVICE_ID = 0x3b00;

    private ArmGuests() {}

    /** With one vCPU and a GICv3 that is initialized. */
    static Vm withVgic(Kernel kernel) {
        Vm vm = Vm.create(kernel);
        try (Vcpu vcpu = vm.createVcpu(new VcpuId(0));
                VgicV3 vgic = vm.arm64().createVgicV3()) {
            vcpu.arm64().initialize();
            vgic.setDistributor(0x800_0000);
            vgic.setRedistributors(0x80a_0000);
            vgic.init();
        }
        return vm;
    }

    /** A message to the ITS. */
    static MsiMessage event(int event) {
        return MsiMessage.toIts(ITS, DEVICE_ID, event);
    }
}
