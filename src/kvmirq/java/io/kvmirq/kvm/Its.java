/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Fd;
import io.kvmirq.uapi.UapiArm64;
import java.util.OptionalLong;

/**
 * An interrupt translation service (ITS) of an arm64 VM with a {@link VgicV3}. Once the guest has enabled the ITS, it
 * accepts messages from {@code MsiMessage.toIts}. {@link #close} closes only the descriptor, because KVM destroys the
 * ITS with the VM. Thread-safe.
 *
 * <p>Source: Documentation/virt/kvm/devices/arm-vgic-its.rst.
 *
 * {@snippet class="io.kvmirq.snippets.ArmSnippetsTest" region="its"}
 */
public final class Its extends KvmDevice {
    private static final long PAGE = 0x1_0000;
    private static final long IIDR = 4;
    private static final long CREADR = 0x90;
    /** The first 64-bit register; the last is below {@link #IDENTIFICATION}. */
    private static final long TYPER = 8;

    private static final long IDENTIFICATION = 0xffd0;

    Its(VgicCalls calls, Fd fd) {
        super(calls, fd);
    }

    /**
     * Sets the guest-physical address of the ITS, which occupies 128 KiB.
     *
     * @param address a guest-physical address, a multiple of 64 KiB
     * @throws io.kvmirq.KernelException EEXIST if the address is set already; E2BIG beyond the VM's address space
     */
    public void setAddress(long address) {
        requireAligned("ITS", address, PAGE);
        set(
                KernelCall.ITS_ADDRESS,
                UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR,
                UapiArm64.KVM_VGIC_ITS_ADDR_TYPE,
                VgicCalls.value(address),
                () -> "address=0x" + Long.toHexString(address));
    }

    /**
     * The ITS's guest-physical address; empty until {@link #setAddress}.
     *
     * @throws io.kvmirq.KernelException EIO in a process that did not create the VM
     */
    public OptionalLong address() {
        return place(UapiArm64.KVM_VGIC_ITS_ADDR_TYPE);
    }

    /**
     * Initializes the ITS. Only kernels before 4.10 need this call; later kernels ignore it.
     *
     * @throws io.kvmirq.KernelException ENXIO on a kernel without this call
     */
    public void init() {
        control(KernelCall.ITS_CONTROL, UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT, "init");
    }

    /**
     * Saves the ITS's devices, events and collections to its tables in guest memory.
     *
     * @throws io.kvmirq.KernelException EBUSY while a vCPU runs; EACCES if an LPI is mapped to a vLPI and the host
     *     lacks GICv4.1; EFAULT if the ITS tables are outside guest memory
     */
    public void saveTables() {
        control(KernelCall.ITS_CONTROL, UapiArm64.KVM_DEV_ARM_ITS_SAVE_TABLES, "save tables");
    }

    /**
     * Restores devices, events and collections from the ITS tables in guest memory. Write the ITS registers first.
     * After EEXIST no event is mapped, but the kernel may still deliver events that its translation cache holds.
     *
     * @throws io.kvmirq.KernelException EBUSY while a vCPU runs; EEXIST if the ITS has collections, which {@link
     *     #reset} removes; EINVAL for inconsistent tables; EFAULT as for {@link #saveTables}
     */
    public void restoreTables() {
        control(KernelCall.ITS_CONTROL, UapiArm64.KVM_DEV_ARM_ITS_RESTORE_TABLES, "restore tables");
    }

    /**
     * Removes all devices, events and collections and disables the ITS, as a machine reset does.
     *
     * @throws io.kvmirq.KernelException EBUSY while a vCPU runs
     */
    public void reset() {
        control(KernelCall.ITS_CONTROL, UapiArm64.KVM_DEV_ARM_ITS_CTRL_RESET, "reset");
    }

    /**
     * Reads a register, as a VMM does to save it.
     *
     * @param offset the register's offset in bytes: 0 (GITS_CTLR), 4 (GITS_IIDR), 8 (GITS_TYPER), 0x80 (GITS_CBASER),
     *     and so on; a multiple of 4 below 8 and from 0xffd0 up, and of 8 in between
     * @throws io.kvmirq.KernelException ENXIO before {@link #setAddress} or for an offset without a register; EBUSY
     *     while a vCPU runs
     * @throws IllegalArgumentException if {@code offset} is not the start of a register
     */
    public long readRegister(long offset) {
        requireOffset(offset);
        return get(
                        KernelCall.ITS_REGISTER,
                        UapiArm64.KVM_DEV_ARM_VGIC_GRP_ITS_REGS,
                        offset,
                        VgicCalls.value(0L),
                        () -> "get register=0x" + Long.toHexString(offset))
                .getLong(0);
    }

    /**
     * Writes a register, as a VMM does to restore it.
     *
     * @param offset the register's offset in bytes, within the limits of {@link #readRegister}
     * @throws io.kvmirq.KernelException as {@link #readRegister}; also EBUSY for GITS_CREADR while the ITS is enabled;
     *     EINVAL for a GITS_CREADR beyond the command queue, or a GITS_IIDR with a revision unknown to the kernel
     */
    public void writeRegister(long offset, long value) {
        requireOffset(offset);
        set(
                offset == IIDR
                        ? KernelCall.ITS_IIDR
                        : offset == CREADR ? KernelCall.ITS_CREADR : KernelCall.ITS_REGISTER,
                UapiArm64.KVM_DEV_ARM_VGIC_GRP_ITS_REGS,
                offset,
                VgicCalls.value(value),
                () -> "set register=0x" + Long.toHexString(offset) + " value=0x" + Long.toHexString(value));
    }

    private static void requireOffset(long offset) {
        int size = offset < TYPER || offset >= IDENTIFICATION ? Integer.BYTES : Long.BYTES;
        if (offset < 0 || offset % size != 0) {
            throw new IllegalArgumentException("ITS register offset 0x" + Long.toHexString(offset)
                    + " is invalid: expected a multiple of " + size);
        }
    }
}
