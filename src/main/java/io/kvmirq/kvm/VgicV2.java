/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Fd;
import io.kvmirq.uapi.UapiArm64;

/**
 * A GICv2 for up to 8 vCPUs, on a host whose GIC can run one.
 *
 * <p>Call {@link #init} before lines, registers and the first {@link Vcpu#run}. Otherwise the kernel initialises a GICv2 by
 * itself and sets the default routes, which {@link Vm#routes} would not know. Lines and registers are refused before.
 *
 * <p>No fake kernel has a GICv2: creating one fails with ENODEV, as on a host with a GICv3 that cannot run it. Test code
 * that uses one on a real host.
 *
 * <p>Source: Documentation/virt/kvm/devices/arm-vgic.rst.
 */
public final class VgicV2 extends Vgic {
    private static final int PAGE = 0x1000;

    private VgicV2(Vm vm, Fd fd, boolean initialized) {
        super(vm, fd, PAGE, initialized);
    }

    static VgicV2 made(Vm vm, Fd fd) {
        VgicV2 vgic = new VgicV2(vm, fd, false);
        vm.vgicCalls().awaitInit(true);
        return vgic;
    }

    static VgicV2 adopted(Vm vm, Fd fd) {
        return new VgicV2(vm, fd, true);
    }

    @Override
    public void setDistributor(long address) {
        requireAligned("distributor", address, PAGE);
        place(KernelCall.VGIC_ADDRESS, "distributor", UapiArm64.KVM_VGIC_V2_ADDR_TYPE_DIST, address);
    }

    /**
     * Sets where the guest sees its CPU interface.
     *
     * @param address guest physical, a multiple of 4 KiB
     * @throws io.kvmirq.KernelException as {@link #setDistributor}
     */
    public void setCpuInterface(long address) {
        requireAligned("CPU interface", address, PAGE);
        place(KernelCall.VGIC_ADDRESS, "cpu-interface", UapiArm64.KVM_VGIC_V2_ADDR_TYPE_CPU, address);
    }
}
