/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.Ppi;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Fd;
import io.kvmirq.uapi.UapiArm64;
import java.util.ArrayList;
import java.util.List;

/**
 * A GICv3: one distributor, and one redistributor per vCPU. Message-signalled interrupts also need an {@link Its}.
 *
 * <p>Each interrupt has a line and a latch. An edge-triggered interrupt is pending while its latch is set, a
 * level-triggered one while its latch is set or its line is high. {@link #isHigh} reads the line, and {@link
 * #isLatched} reads the latch.
 *
 * <p>Source: Documentation/virt/kvm/devices/arm-vgic-v3.rst.
 *
 * {@snippet class="io.kvmirq.snippets.ArmSnippetsTest" region="vgic"}
 */
public final class VgicV3 extends Vgic {
    /** The size of one redistributor in bytes. */
    public static final int REDISTRIBUTOR_SIZE = 0x2_0000;

    private static final int PAGE = 0x1_0000;
    private static final int MOST_IN_A_REGION = 4095;
    private static final int LAST_REGION = 255;
    private static final int COUNT_SHIFT = UapiArm64.KVM_VGIC_V3_RDIST_COUNT_SHIFT;
    private static final long REGION_BASE = (1L << COUNT_SHIFT) - PAGE;
    private static final int PENDING = 0x200;
    private static final int PER_WORD = 32;
    private static final int LAST_WORD = 992;

    /**
     * A region of redistributors at consecutive addresses.
     *
     * @param address the guest-physical address of the first redistributor
     * @param count the number of redistributors, 1–4095; 0 if {@link #setRedistributors} placed all redistributors
     */
    public record RedistributorRegion(long address, int count) {}

    VgicV3(VgicCalls calls, RouteTable routes, Fd fd, boolean initialized) {
        super(calls, routes, fd, PAGE, UapiArm64.KVM_VGIC_V3_ADDR_TYPE_DIST, initialized);
    }

    /**
     * Places all vCPUs' redistributors at consecutive addresses. Call either this method or {@link #addRedistributors},
     * not both. After this call, the kernel still accepts a region, but no vCPU uses it.
     *
     * @param address the guest-physical address of the first redistributor, a multiple of 64 KiB
     * @throws io.kvmirq.KernelException EEXIST if redistributors have been placed already; E2BIG beyond the VM's
     *     address space; EINVAL when redistributors overlap the distributor, or after {@link #addRedistributors}
     */
    public void setRedistributors(long address) {
        requireAligned("redistributors", address, PAGE);
        place(KernelCall.VGIC_REGION, "redistributors", UapiArm64.KVM_VGIC_V3_ADDR_TYPE_REDIST, address);
    }

    /**
     * Adds a region of redistributors for {@code count} vCPUs.
     *
     * @param index the region's number: 0, then 1 and so on
     * @param address as for {@link #setRedistributors}
     * @param count the number of redistributors, 1–4095, each of {@value #REDISTRIBUTOR_SIZE} bytes
     * @throws io.kvmirq.KernelException EINVAL for an index that is not the next one, or for regions that overlap;
     *     E2BIG beyond the VM's address space
     */
    public void addRedistributors(int index, long address, int count) {
        requireAligned("redistributors", address, PAGE);
        if (index < 0 || index > LAST_REGION) {
            throw new IllegalArgumentException("redistributor region " + index + " is out of range: expected 0-"
                    + LAST_REGION + ", one after the other");
        }
        if (count < 1 || count > MOST_IN_A_REGION) {
            throw new IllegalArgumentException(
                    "a region of " + count + " redistributors is invalid: expected 1-" + MOST_IN_A_REGION);
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
     * The redistributor regions that {@link #setRedistributors} or {@link #addRedistributors} placed, sorted by index.
     * Makes one system call per region.
     *
     * @throws io.kvmirq.KernelException EIO in a process that did not create the VM
     */
    public List<RedistributorRegion> redistributors() {
        List<RedistributorRegion> regions = new ArrayList<>();
        try {
            while (regions.size() <= LAST_REGION) {
                long region = region(regions.size());
                regions.add(new RedistributorRegion(region & REGION_BASE, (int) (region >>> COUNT_SHIFT)));
            }
        } catch (KernelException e) {
            if (!e.errno().equals(Errno.ENOENT)) {
                throw e;
            }
        }
        return regions;
    }

    /** @throws KernelException ENOENT if no region has this index */
    private long region(long index) {
        return get(
                        KernelCall.ATTRIBUTE_GET,
                        UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR,
                        UapiArm64.KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION,
                        VgicCalls.value(index),
                        () -> "region=" + index)
                .getLong(0);
    }

    /**
     * Saves the pending state of all LPIs to the pending tables in guest memory.
     *
     * @throws io.kvmirq.KernelException ENXIO before {@link #init}; EBUSY while a vCPU runs; EFAULT if a pending table
     *     is outside guest memory
     */
    public void savePendingTables() {
        control(KernelCall.VGIC_CONTROL, UapiArm64.KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES, "save pending tables");
    }

    // Registers

    /**
     * Reads a redistributor register of a vCPU. The kernel finds the vCPU by its affinity, which the library derives
     * from the id, so do not change MPIDR_EL1.
     *
     * @param offset in bytes, a multiple of 4, below {@value #REDISTRIBUTOR_SIZE}. An offset without a register reads 0
     * @throws io.kvmirq.KernelException EBUSY before {@link #init} or while a vCPU runs; EINVAL for a vCPU that does
     *     not exist or is not initialized
     * @throws IllegalArgumentException for an invalid {@code offset}
     */
    public int readRedistributor(VcpuId vcpu, int offset) {
        requireOffset("redistributor", offset, REDISTRIBUTOR_SIZE);
        return readRegister(UapiArm64.KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, VgicCalls.affinity(vcpu) | offset);
    }

    /**
     * Writes a redistributor register of a vCPU.
     *
     * @param offset as for {@link #readRedistributor}
     * @throws io.kvmirq.KernelException as {@link #readRedistributor}
     */
    public void writeRedistributor(VcpuId vcpu, int offset, int value) {
        requireOffset("redistributor", offset, REDISTRIBUTOR_SIZE);
        writeRegister(UapiArm64.KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, VgicCalls.affinity(vcpu) | offset, value);
    }

    /**
     * A system register's id, from its MRS operands: {@code systemRegister(3, 0, 4, 6, 0)} is ICC_PMR_EL1.
     *
     * @param op0 0–3
     * @param op1 0–7
     * @param crn 0–15
     * @param crm 0–15
     * @param op2 0–7
     * @throws IllegalArgumentException if an operand is out of range
     */
    public static int systemRegister(int op0, int op1, int crn, int crm, int op2) {
        if ((op0 | 3) != 3 || ((op1 | op2) | 7) != 7 || ((crn | crm) | 15) != 15) {
            throw new IllegalArgumentException("system register " + op0 + ", " + op1 + ", " + crn + ", " + crm + ", "
                    + op2 + " is invalid: expected op0 0-3, op1 and op2 0-7, CRn and CRm 0-15");
        }
        return op0 << UapiArm64.KVM_REG_ARM64_SYSREG_OP0_SHIFT
                | op1 << UapiArm64.KVM_REG_ARM64_SYSREG_OP1_SHIFT
                | crn << UapiArm64.KVM_REG_ARM64_SYSREG_CRN_SHIFT
                | crm << UapiArm64.KVM_REG_ARM64_SYSREG_CRM_SHIFT
                | op2 << UapiArm64.KVM_REG_ARM64_SYSREG_OP2_SHIFT;
    }

    /**
     * Reads a CPU interface system register of a vCPU, as a VMM does to save it: ICC_PMR_EL1, ICC_BPR0_EL1,
     * ICC_BPR1_EL1, ICC_AP0R0_EL1 and the other active priority registers ({@code ICC_AP*R*_EL1}), ICC_CTLR_EL1,
     * ICC_SRE_EL1, ICC_IGRPEN0_EL1 and ICC_IGRPEN1_EL1.
     *
     * @param register an id from {@link #systemRegister}, 0–0xffff
     * @throws io.kvmirq.KernelException as {@link #readRedistributor}; also ENOENT for a register that is not listed
     *     here (ENXIO before 6.0); EINVAL for an active priority register that the host lacks
     * @throws IllegalArgumentException if {@code register} is out of range
     */
    public long readSystemRegister(VcpuId vcpu, int register) {
        return read(
                        KernelCall.VGIC_SYSTEM_REGISTER,
                        UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS,
                        systemRegister(vcpu, register))
                .getLong(0);
    }

    /**
     * Writes a CPU interface system register of a vCPU, as a VMM does to restore it. Restore ICC_CTLR_EL1 before the
     * active priority registers, because its priority bits determine which of them exist.
     *
     * @param register a register that {@link #readSystemRegister} lists, by its id from {@link #systemRegister}
     * @throws io.kvmirq.KernelException as {@link #readSystemRegister}; also EINVAL if an ICC_CTLR_EL1 value has
     *     more PRIbits or IDbits than the vCPU, or another SEIS or A3V than the host, or if an ICC_SRE_EL1 value clears
     *     SRE
     */
    public void writeSystemRegister(VcpuId vcpu, int register, long value) {
        write(
                KernelCall.VGIC_SYSTEM_REGISTER,
                UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS,
                systemRegister(vcpu, register),
                VgicCalls.value(value),
                Long.toHexString(value));
    }

    private static long systemRegister(VcpuId vcpu, int register) {
        if (register >>> Short.SIZE != 0) {
            throw new IllegalArgumentException("system register 0x" + Integer.toHexString(register)
                    + " is invalid: expected 0-0xffff, as systemRegister returns it");
        }
        return VgicCalls.affinity(vcpu) | register;
    }

    private static int pendingWord(Spi spi) {
        return PENDING + spi.number() / PER_WORD * Integer.BYTES;
    }

    private static int bit(int interrupt) {
        return 1 << interrupt % PER_WORD;
    }

    /**
     * Whether the SPI's latch is set, meaning that the guest has not yet taken a raised edge.
     *
     * @throws io.kvmirq.KernelException as {@link #readDistributor}
     * @throws IllegalArgumentException if the VGIC lacks the SPI
     */
    public boolean isLatched(Spi spi) {
        return (readDistributor(spi, pendingWord(spi)) & bit(spi.number())) != 0;
    }

    /**
     * Sets or clears the SPI's latch. This rewrites the latches of a block of 32 SPIs, so an edge of another SPI in the
     * block may be lost during the call.
     *
     * @throws io.kvmirq.KernelException as {@link #readDistributor}
     * @throws IllegalArgumentException if the VGIC lacks the SPI
     */
    public synchronized void setLatched(Spi spi, boolean latched) {
        int before = readDistributor(spi, pendingWord(spi));
        writeDistributor(pendingWord(spi), latched ? before | bit(spi.number()) : before & ~bit(spi.number()));
    }

    /**
     * Whether a level-triggered SPI's line is high. Reads the line through vCPU 0, which must exist.
     *
     * @throws io.kvmirq.KernelException as {@link #readDistributor}
     * @throws IllegalArgumentException if the VGIC lacks the SPI
     */
    public boolean isHigh(Spi spi) {
        int word = readRegister(spi, UapiArm64.KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO, first(spi.number()));
        return (word & bit(spi.number())) != 0;
    }

    /**
     * Whether a vCPU's PPI line is high.
     *
     * @throws io.kvmirq.KernelException as {@link #readRedistributor}
     */
    public boolean isHigh(VcpuId vcpu, Ppi ppi) {
        return (readLines(vcpu, first(ppi.number())) & bit(ppi.number())) != 0;
    }

    /**
     * Reads the levels of 32 lines, as a VMM does to save them. Lines of edge-triggered interrupts read as low.
     *
     * @param vcpu the vCPU whose PPIs are read; SPIs are the same for each vCPU
     * @param first the first interrupt, a multiple of 32: 0 for the PPIs in bits 16–31, 32–992 for SPIs
     * @return bit n is 1 if the line of interrupt {@code first + n} is high; bits beyond {@link #interrupts} are 0
     * @throws io.kvmirq.KernelException as {@link #readRedistributor}
     * @throws IllegalArgumentException if {@code first} is not a multiple of 32 from 0 to 992
     */
    public int readLines(VcpuId vcpu, int first) {
        return readRegister(UapiArm64.KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO, lines(vcpu, first));
    }

    /**
     * Sets the levels of 32 lines, as a VMM does to restore them. For an edge-triggered interrupt, a high level does
     * not set the latch, and has no effect until the interrupt becomes level-triggered.
     *
     * @param vcpu as for {@link #readLines}
     * @param first as for {@link #readLines}
     * @param lines bit n is 1 to make the line of interrupt {@code first + n} high
     * @throws io.kvmirq.KernelException as {@link #readLines}
     * @throws IllegalArgumentException as {@link #readLines}
     */
    public void writeLines(VcpuId vcpu, int first, int lines) {
        writeRegister(UapiArm64.KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO, lines(vcpu, first), lines);
    }

    private static long lines(VcpuId vcpu, int first) {
        if (first < 0 || first > LAST_WORD || first % PER_WORD != 0) {
            throw new IllegalArgumentException("lines of 32 interrupts from " + first
                    + " are not possible: expected a multiple of 32, 0-" + LAST_WORD);
        }
        return VgicCalls.affinity(vcpu) | first;
    }

    /** The first interrupt of the block whose lines the kernel reads together. */
    private static int first(int interrupt) {
        return interrupt - interrupt % PER_WORD;
    }
}
