/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Ppi;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Fd;
import io.kvmirq.uapi.UapiArm64;

/**
 * A GICv3: one distributor, one redistributor for each vCPU. Message-signalled interrupts need an {@link Its} beside it.
 *
 * <p>The pending state of an edge is its latch, that of a level is its line or its latch. The kernel tells the two apart:
 * {@link #isLatched} and {@link #isHigh}.
 *
 * <p>Source: Documentation/virt/kvm/devices/arm-vgic-v3.rst.
 */
public final class VgicV3 extends Vgic {
    /** Bytes that one redistributor occupies. */
    public static final int REDISTRIBUTOR_SIZE = 0x2_0000;

    private static final int PAGE = 0x1_0000;
    private static final int MOST_IN_A_REGION = 4095;
    private static final int LAST_REGION = 255;
    private static final int COUNT_SHIFT = 52;
    private static final int PENDING = 0x200;
    private static final int PER_WORD = 32;

    private VgicV3(Vm vm, Fd fd, boolean initialized) {
        super(vm, fd, PAGE, initialized);
    }

    static VgicV3 made(Vm vm, Fd fd) {
        return new VgicV3(vm, fd, false);
    }

    static VgicV3 adopted(Vm vm, Fd fd) {
        return new VgicV3(vm, fd, true);
    }

    @Override
    public void setDistributor(long address) {
        requireAligned("distributor", address, PAGE);
        place(KernelCall.VGIC_ADDRESS, "distributor", UapiArm64.KVM_VGIC_V3_ADDR_TYPE_DIST, address);
    }

    /**
     * Places the redistributors of all vCPUs one after the other. Either this, or {@link #addRedistributors}.
     *
     * @param address guest physical, a multiple of 64 KiB
     * @throws io.kvmirq.KernelException EEXIST when they are placed; E2BIG beyond the VM's addresses; EINVAL when they
     *     overlap the distributor, or regions were added before
     */
    public void setRedistributors(long address) {
        requireAligned("redistributors", address, PAGE);
        place(KernelCall.VGIC_REGION, "redistributors", UapiArm64.KVM_VGIC_V3_ADDR_TYPE_REDIST, address);
    }

    /**
     * Adds a region of redistributors, for as many vCPUs.
     *
     * @param index 0 for the first region, then 1 and so on
     * @param address guest physical, a multiple of 64 KiB
     * @param count redistributors, 1–4095, each of {@value #REDISTRIBUTOR_SIZE} bytes
     * @throws io.kvmirq.KernelException EINVAL for an index out of turn, or for regions that overlap; E2BIG beyond the
     *     VM's addresses
     */
    public void addRedistributors(int index, long address, int count) {
        requireAligned("redistributors", address, PAGE);
        if (index < 0 || index > LAST_REGION) {
            throw new IllegalArgumentException("redistributor region " + index + " is out of range: expected 0–"
                    + LAST_REGION + ", one after the other");
        }
        if (count < 1 || count > MOST_IN_A_REGION) {
            throw new IllegalArgumentException(
                    "a region of " + count + " redistributors is not possible: expected 1–" + MOST_IN_A_REGION);
        }
        if (address >>> COUNT_SHIFT != 0) {
            throw new IllegalArgumentException("redistributors 0x" + Long.toHexString(address)
                    + " are beyond any guest: expected a guest physical address below 2^52");
        }
        place(
                KernelCall.VGIC_REGION,
                "region",
                UapiArm64.KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION,
                (long) count << COUNT_SHIFT | address | index);
    }

    /**
     * Writes the pending state of all message-signalled interrupts to the tables in guest memory, to save the VM.
     *
     * @throws io.kvmirq.KernelException ENXIO before {@link #init}; EBUSY while a vCPU runs; EFAULT when the guest's tables
     *     lie outside its memory
     */
    public void savePendingTables() {
        control(UapiArm64.KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES, "save pending tables");
    }

    // Registers

    /**
     * Reads a register of a vCPU's redistributor. A vCPU is found by its affinity, which follows from its id unless the
     * VMM has changed MPIDR_EL1.
     *
     * @param offset bytes, a multiple of 4, below {@value #REDISTRIBUTOR_SIZE}. Where no register is, 0 is read
     * @throws io.kvmirq.KernelException EBUSY before {@link #init} or while a vCPU runs; EINVAL for a vCPU that does not
     *     exist or is not initialised
     * @throws IllegalArgumentException for another offset
     */
    public int readRedistributor(VcpuId vcpu, int offset) {
        requireOffset("redistributor", offset, REDISTRIBUTOR_SIZE);
        return readRegister(UapiArm64.KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, VgicCalls.affinity(vcpu) | offset);
    }

    /**
     * Writes a register of a vCPU's redistributor.
     *
     * @param offset as for {@link #readRedistributor}
     * @throws io.kvmirq.KernelException as {@link #readRedistributor}
     */
    public void writeRedistributor(VcpuId vcpu, int offset, int value) {
        requireOffset("redistributor", offset, REDISTRIBUTOR_SIZE);
        writeRegister(UapiArm64.KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, VgicCalls.affinity(vcpu) | offset, value);
    }

    private static int pendingWord(Spi spi) {
        return PENDING + spi.number() / PER_WORD * Integer.BYTES;
    }

    private static int bit(int interrupt) {
        return 1 << interrupt % PER_WORD;
    }

    /**
     * Whether the SPI's latch is set: an edge came that the guest has not taken.
     *
     * @throws io.kvmirq.KernelException as {@link #readDistributor}
     * @throws IllegalArgumentException for an SPI beyond {@link #interrupts}
     */
    public boolean isLatched(Spi spi) {
        return (readDistributor(spi, pendingWord(spi)) & bit(spi.number())) != 0;
    }

    /**
     * Sets the SPI's latch, or clears it. An edge that comes meanwhile to one of the 32 SPIs beside it may be lost.
     *
     * @throws io.kvmirq.KernelException as {@link #readDistributor}
     * @throws IllegalArgumentException for an SPI beyond {@link #interrupts}
     */
    public synchronized void setLatched(Spi spi, boolean latched) {
        int before = readDistributor(spi, pendingWord(spi));
        writeDistributor(pendingWord(spi), latched ? before | bit(spi.number()) : before & ~bit(spi.number()));
    }

    /**
     * Whether the line of a level-triggered SPI is high. Needs the vCPU of id 0.
     *
     * @throws io.kvmirq.KernelException as {@link #readDistributor}
     * @throws IllegalArgumentException for an SPI beyond {@link #interrupts}
     */
    public boolean isHigh(Spi spi) {
        int word = readRegister(spi, UapiArm64.KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO, first(spi.number()));
        return (word & bit(spi.number())) != 0;
    }

    /**
     * Whether the line of a vCPU's PPI is high.
     *
     * @throws io.kvmirq.KernelException as {@link #readRedistributor}
     */
    public boolean isHigh(VcpuId vcpu, Ppi ppi) {
        long attribute = VgicCalls.affinity(vcpu) | first(ppi.number());
        return (readRegister(UapiArm64.KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO, attribute) & bit(ppi.number())) != 0;
    }

    /** The first interrupt of those whose lines the kernel gives together. */
    private static int first(int interrupt) {
        return interrupt - interrupt % PER_WORD;
    }
}
