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
 * <p>Call {@link #init} before you use lines or registers, or run a vCPU. Earlier uses are refused, because the kernel
 * would implicitly initialize the GICv2, with default routes that are missing from {@link Vm#routes}.
 *
 * <p>On a GICv2 host, VMs can have only a GICv2, at most 8 vCPUs and no ITS. Many GICv3 hosts cannot run a GICv2, so
 * creating one there fails with ENODEV. The fake kernel supports a GICv2 if its profile's name contains {@code gicv2}.
 *
 * <p>Source: Documentation/virt/kvm/devices/arm-vgic.rst.
 *
 * {@snippet class="io.kvmirq.snippets.ArmSnippetsTest" region="vgicv2"}
 */
public final class VgicV2 extends Vgic {
    private static final int PAGE = 0x1000;
    private static final int CPU_INTERFACE_SIZE = 0x2000;
    /** The vCPU id has 8 bits in the attribute. */
    private static final int LAST_VCPU = 255;

    VgicV2(VgicCalls calls, RouteTable routes, Fd fd, boolean initialized) {
        super(calls, routes, fd, PAGE, UapiArm64.KVM_VGIC_V2_ADDR_TYPE_DIST, initialized);
        if (!initialized) {
            calls.awaitInit(true);
        }
    }

    /**
     * Sets the guest-physical address of the CPU interface, which occupies 8 KiB.
     *
     * @param address the guest-physical address of the CPU interface, a multiple of 4 KiB
     * @throws io.kvmirq.KernelException as {@link #setDistributor}
     */
    public void setCpuInterface(long address) {
        requireAligned("CPU interface", address, PAGE);
        place(KernelCall.VGIC_ADDRESS, "cpu-interface", UapiArm64.KVM_VGIC_V2_ADDR_TYPE_CPU, address);
    }

    /**
     * The CPU interface's guest-physical address; empty until {@link #setCpuInterface}.
     *
     * @throws io.kvmirq.KernelException EIO in a process that did not create the VM
     */
    public OptionalLong cpuInterface() {
        return place(UapiArm64.KVM_VGIC_V2_ADDR_TYPE_CPU);
    }

    // Registers of a vCPU

    /**
     * Reads a distributor register as one vCPU sees it. Each vCPU has its own registers for interrupts 0–31.
     * GICD_ISPENDR shows latched interrupts and level-triggered interrupts whose line is high. An SPI's GICD_ITARGETSR
     * has a bit for each vCPU, in creation order.
     *
     * @param vcpu the vCPU id. Kernels before 6.7 interpret it as the vCPU's position in creation order, except for
     *     some stable kernels, such as Debian's 6.1
     * @param offset the register's offset in bytes, a multiple of 4, below 0x1000. An offset without a register reads 0
     * @throws io.kvmirq.KernelException EINVAL for a vCPU that does not exist (6.7 and 6.8 may crash instead); EBUSY
     *     while a vCPU runs
     * @throws IllegalArgumentException for an invalid {@code offset}, or an id above 255
     * @throws IllegalStateException before the {@link #init} of a GICv2 from {@link Arm64Vm#createVgicV2}
     */
    public int readDistributor(VcpuId vcpu, int offset) {
        return readRegister(UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS, attribute("distributor", PAGE, vcpu, offset));
    }

    /**
     * Writes a distributor register as one vCPU sees it. The kernel ignores a write to GICD_IGROUPR unless the VMM has
     * first written GICD_IIDR, with its current value or an older revision. A write to GICD_SGIR sends an SGI from this
     * vCPU. Restore GICD_ISPENDR before GICD_CPENDSGIR and GICD_SPENDSGIR, because the kernel records the vCPU itself
     * as the sender of an SGI that GICD_ISPENDR makes pending.
     *
     * @param vcpu as for {@link #readDistributor(VcpuId,int)}
     * @param offset in bytes, a multiple of 4, below 0x1000. The kernel ignores a write to an offset without a register
     * @throws io.kvmirq.KernelException as {@link #readDistributor(VcpuId,int)}
     */
    public void writeDistributor(VcpuId vcpu, int offset, int value) {
        writeRegister(UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS, attribute("distributor", PAGE, vcpu, offset), value);
    }

    /**
     * Reads a CPU interface register of a vCPU, as a VMM does to save it. The kernel returns the guest's GICC_PMR
     * shifted right by 3, as in GICH_VMCR.VMPriMask, so 0x1f stands for 0xf8.
     *
     * @param vcpu as for {@link #readDistributor(VcpuId,int)}
     * @param offset the register's offset in bytes, a multiple of 4, below 0x2000: 0 (GICC_CTLR), 4 (GICC_PMR), 8
     *     (GICC_BPR), 0x1c (GICC_ABPR), 0xd0 (GICC_APR0), 0xfc (GICC_IIDR). An offset without a register reads 0
     * @throws io.kvmirq.KernelException as {@link #readDistributor(VcpuId,int)}
     */
    public int readCpuInterface(VcpuId vcpu, int offset) {
        return readRegister(
                UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_REGS, attribute("CPU interface", CPU_INTERFACE_SIZE, vcpu, offset));
    }

    /**
     * Writes a CPU interface register of a vCPU, as a VMM does to restore it.
     *
     * @param vcpu as for {@link #readDistributor(VcpuId,int)}
     * @param offset as for {@link #readCpuInterface}. The kernel ignores a write to an offset without a register
     * @param value the new value; for GICC_PMR in the form that {@link #readCpuInterface} returns
     * @throws io.kvmirq.KernelException as {@link #readDistributor(VcpuId,int)}
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
            throw new IllegalArgumentException(vcpu + " is invalid: expected 0-" + LAST_VCPU + " with a GICv2");
        }
        return (long) vcpu.number() << UapiArm64.KVM_DEV_ARM_VGIC_CPUID_SHIFT | offset;
    }
}
