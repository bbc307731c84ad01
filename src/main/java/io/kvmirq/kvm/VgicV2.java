/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.VcpuId;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Fd;
import io.kvmirq.uapi.UapiArm64;
import java.util.OptionalLong;

/**
 * A GICv2 for up to 8 vCPUs, on a host whose GIC can run one.
 *
 * <p>Call {@link #init} before lines, registers and the first {@link Vcpu#run}. Otherwise the kernel initialises a GICv2 by
 * itself and sets the default routes, which {@link Vm#routes} would not know. Lines, registers and runs are refused
 * before.
 *
 * <p>No fake kernel has a GICv2: creating one fails with ENODEV, as on a host with a GICv3 that cannot run it. Test code
 * that uses one on a real host.
 *
 * <p>Source: Documentation/virt/kvm/devices/arm-vgic.rst.
 */
public final class VgicV2 extends Vgic {
    private static final int PAGE = 0x1000;
    private static final int CPU_INTERFACE_SIZE = 0x2000;
    /** The attribute has 8 bits for a vCPU. */
    private static final int LAST_VCPU = 255;

    private VgicV2(Vm vm, Fd fd, boolean initialized) {
        super(vm, fd, PAGE, UapiArm64.KVM_VGIC_V2_ADDR_TYPE_DIST, initialized);
    }

    static VgicV2 made(Vm vm, Fd fd) {
        VgicV2 vgic = new VgicV2(vm, fd, false);
        vm.vgicCalls().awaitInit(true);
        return vgic;
    }

    static VgicV2 adopted(Vm vm, Fd fd) {
        return new VgicV2(vm, fd, true);
    }

    /**
     * Sets where the guest sees its CPU interface, which occupies 8 KiB.
     *
     * @param address guest physical, a multiple of 4 KiB
     * @throws io.kvmirq.KernelException as {@link #setDistributor}
     */
    public void setCpuInterface(long address) {
        requireAligned("CPU interface", address, PAGE);
        place(KernelCall.VGIC_ADDRESS, "cpu-interface", UapiArm64.KVM_VGIC_V2_ADDR_TYPE_CPU, address);
    }

    /**
     * Where the guest sees its CPU interface, a guest physical address; empty until it is set.
     *
     * @throws io.kvmirq.KernelException EIO from another process than the one that created the VM
     */
    public OptionalLong cpuInterface() {
        return vgicCalls().place(fd(), UapiArm64.KVM_VGIC_V2_ADDR_TYPE_CPU);
    }

    // Registers of a vCPU

    /**
     * Reads a register of the distributor as one vCPU has it: those of interrupts 0–31 exist once for each vCPU.
     *
     * @param vcpu its id; kernels before 6.7 take it for the vCPU's place in the order of creation
     * @param offset bytes, a multiple of 4, below 0x1000. Where no register is, 0 is read
     * @throws io.kvmirq.KernelException EINVAL for a vCPU that does not exist, where kernels of 6.7 and 6.8 may crash
     *     instead; EBUSY while a vCPU runs
     * @throws IllegalArgumentException for another offset, or an id above 255
     * @throws IllegalStateException before the {@link #init} of a GICv2 that was created here
     */
    public int readDistributor(VcpuId vcpu, int offset) {
        return readRegister(UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS, attribute("distributor", PAGE, vcpu, offset));
    }

    /**
     * Writes a register of the distributor as one vCPU has it.
     *
     * @param vcpu as for {@link #readDistributor(VcpuId, int)}
     * @param offset as for {@link #readDistributor(VcpuId, int)}. Where no register is, the kernel ignores the value
     * @throws io.kvmirq.KernelException as {@link #readDistributor(VcpuId, int)}
     */
    public void writeDistributor(VcpuId vcpu, int offset, int value) {
        writeRegister(UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS, attribute("distributor", PAGE, vcpu, offset), value);
    }

    /**
     * Reads a register of a vCPU's CPU interface, as a VMM does to save it.
     *
     * @param vcpu as for {@link #readDistributor(VcpuId, int)}
     * @param offset bytes, a multiple of 4, below 0x2000: 0 (GICC_CTLR), 4 (GICC_PMR), 8 (GICC_BPR), ... Where no
     *     register is, 0 is read
     * @throws io.kvmirq.KernelException as {@link #readDistributor(VcpuId, int)}
     */
    public int readCpuInterface(VcpuId vcpu, int offset) {
        return readRegister(
                UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_REGS, attribute("CPU interface", CPU_INTERFACE_SIZE, vcpu, offset));
    }

    /**
     * Writes a register of a vCPU's CPU interface, as a VMM does to restore it.
     *
     * @param vcpu as for {@link #readDistributor(VcpuId, int)}
     * @param offset as for {@link #readCpuInterface}. Where no register is, the kernel ignores the value
     * @throws io.kvmirq.KernelException as {@link #readDistributor(VcpuId, int)}
     */
    public void writeCpuInterface(VcpuId vcpu, int offset, int value) {
        writeRegister(
                UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_REGS,
                attribute("CPU interface", CPU_INTERFACE_SIZE, vcpu, offset),
                value);
    }

    private static long attribute(String part, int size, VcpuId vcpu, int offset) {
        requireOffset(part, offset, size);
        if (vcpu.number() > LAST_VCPU) {
            throw new IllegalArgumentException(vcpu + " is not possible: expected 0–" + LAST_VCPU + " with a GICv2");
        }
        return (long) vcpu.number() << UapiArm64.KVM_DEV_ARM_VGIC_CPUID_SHIFT | offset;
    }
}
