/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Fd;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;

/**
 * An arm64 VM's virtual interrupt controller (VGIC). A VM has at most one. {@link #close} closes only the descriptor,
 * because KVM destroys the VGIC with the VM.
 *
 * <p>Set the number of interrupts, create vCPUs, call {@link #init}, and only then use irqfds and lines. Set the VGIC's
 * addresses before the first vCPU runs, either before or after init. Thread-safe, but a method that changes an
 * interrupt writes back a whole register, which may undo a concurrent change by the guest.
 *
 * <p>Source: Documentation/virt/kvm/devices/arm-vgic.rst and arm-vgic-v3.rst.
 *
 * {@snippet class="io.kvmirq.snippets.ArmSnippetsTest" region="vgic"}
 */
public abstract sealed class Vgic extends KvmDevice permits VgicV2, VgicV3 {
    /** The smallest number of interrupts: 32 private ones and 32 SPIs. */
    public static final int FEWEST_INTERRUPTS = 64;
    /** The largest number of interrupts: 32 private ones and 960 SPIs. */
    public static final int MOST_INTERRUPTS = 992;

    private static final int INTERRUPTS_STEP = 32;
    private static final int CONFIGURATIONS = 0xc00;
    private static final int PER_CONFIGURATION = 16;

    private final VgicCalls calls;
    private final RouteTable routes;
    /** The distributor's size in bytes. The distributor's address is a multiple of this size. */
    private final int size;
    /** KVM_VGIC_V*_ADDR_TYPE_DIST. */
    private final int distributorType;

    private boolean initialized;
    /** The number of interrupts; 0 until it is read after init. */
    private volatile int interrupts;

    /** @param initialized whether a VMM initializes the VGIC, so init must not set default routes */
    Vgic(VgicCalls calls, RouteTable routes, Fd fd, int size, int distributorType, boolean initialized) {
        super(calls, fd);
        this.calls = calls;
        this.routes = routes;
        this.size = size;
        this.distributorType = distributorType;
        this.initialized = initialized;
    }

    final void place(KernelCall call, String what, int type, long word) {
        set(
                call,
                UapiArm64.KVM_DEV_ARM_VGIC_GRP_ADDR,
                type,
                VgicCalls.value(word),
                () -> what + "=0x" + Long.toHexString(word));
    }

    /**
     * Sets the distributor's guest-physical address. If it overlaps another part of the VGIC, this call succeeds, but a
     * later {@link VgicV3#setRedistributors}, {@link Vm#createVcpu} or {@link Vcpu#run} fails with EINVAL.
     *
     * @param address the distributor's guest-physical address, a multiple of 64 KiB (GICv3) or 4 KiB (GICv2)
     * @throws io.kvmirq.KernelException EEXIST if the address is set already; E2BIG beyond the VM's address space
     */
    public void setDistributor(long address) {
        requireAligned("distributor", address, size);
        place(KernelCall.VGIC_ADDRESS, "distributor", distributorType, address);
    }

    /**
     * The distributor's guest-physical address; empty until {@link #setDistributor}.
     *
     * @throws io.kvmirq.KernelException EIO in a process that did not create the VM
     */
    public OptionalLong distributor() {
        return place(distributorType);
    }

    /**
     * The number of interrupts, including the 32 private ones; 32 until {@link #setInterrupts} or {@link #init} sets
     * it.
     *
     * @throws io.kvmirq.KernelException ENOMEM
     */
    public int interrupts() {
        int group = UapiArm64.KVM_DEV_ARM_VGIC_GRP_NR_IRQS;
        return get(KernelCall.VGIC_INTERRUPTS, group, 0, VgicCalls.value(0), () -> "interrupts")
                .getInt(0);
    }

    /**
     * Sets the number of interrupts, including the 32 private ones. Call it once, before {@link #init}.
     *
     * @param count the number of interrupts, 64–992, a multiple of 32; the VGIC then has SPIs 32 to {@code count} - 1
     * @throws io.kvmirq.KernelException EBUSY if this method or {@link #init} has set the number before
     */
    public void setInterrupts(int count) {
        if (count < FEWEST_INTERRUPTS || count > MOST_INTERRUPTS || count % INTERRUPTS_STEP != 0) {
            throw new IllegalArgumentException(count + " interrupts are not possible: expected " + FEWEST_INTERRUPTS
                    + "-" + MOST_INTERRUPTS + ", a multiple of " + INTERRUPTS_STEP + ", with the 32 private ones");
        }
        int group = UapiArm64.KVM_DEV_ARM_VGIC_GRP_NR_IRQS;
        set(KernelCall.VGIC_INTERRUPTS, group, 0, VgicCalls.value(count), () -> "interrupts=" + count);
    }

    /**
     * Initializes the VGIC, with 256 interrupts unless another number was set. Afterwards the VM accepts irqfds and
     * line changes, but no more vCPUs. By default, GSI n is routed to pin n, which raises SPI n + 32. Idempotent.
     *
     * @throws io.kvmirq.KernelException EBUSY while another thread creates a vCPU; ENOMEM if memory is short
     */
    public synchronized void init() {
        if (initialized) {
            control(KernelCall.VGIC_CONTROL, UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT, "init");
            return;
        }
        routes.becomeDefaults(() -> {
            control(KernelCall.VGIC_CONTROL, UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT, "init");
            return defaultRoutes(interrupts() - Spi.FIRST);
        });
        initialized = true;
        calls.awaitInit(false);
    }

    /** Source: {@code kvm_vgic_setup_default_irq_routing()} in vgic-irqfd.c. */
    private static List<Route.Pin> defaultRoutes(int pins) {
        List<Route.Pin> routes = new ArrayList<>(pins);
        for (int pin = 0; pin < pins; pin++) {
            routes.add(new Route.Pin(new Gsi(pin), Route.Chip.VGIC, pin));
        }
        return routes;
    }

    // Registers

    /**
     * Reads a distributor register, as a VMM does to save it. Some registers read differently in the guest. For a
     * GICv2's private interrupts, this reads vCPU 0's registers. {@link VgicV2#readDistributor(VcpuId,int)} reads those
     * of any vCPU.
     *
     * @param offset the register's offset in bytes, a multiple of 4, below 0x10000 (GICv3) or 0x1000 (GICv2). An offset
     *     without a register reads 0
     * @throws io.kvmirq.KernelException EBUSY before {@link #init} or while a vCPU runs; EINVAL if the VM has no vCPU
     * @throws IllegalArgumentException for an invalid {@code offset}
     * @throws IllegalStateException before the {@link #init} of a GICv2 from {@link Arm64Vm#createVgicV2}
     */
    public int readDistributor(int offset) {
        requireOffset("distributor", offset, size);
        return readRegister(UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS, offset);
    }

    /**
     * Writes a distributor register, as a VMM does to restore it.
     *
     * @param offset as for {@link #readDistributor}. The kernel ignores a write to an offset without a register
     * @throws io.kvmirq.KernelException as {@link #readDistributor}
     */
    public void writeDistributor(int offset, int value) {
        requireOffset("distributor", offset, size);
        writeRegister(UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS, offset, value);
    }

    /** @param size the number of bytes that the registers occupy */
    static void requireOffset(String what, int offset, int size) {
        if (offset < 0 || offset >= size || offset % Integer.BYTES != 0) {
            throw new IllegalArgumentException(what + " offset 0x" + Integer.toHexString(offset)
                    + " is invalid: expected a multiple of " + Integer.BYTES + " below 0x"
                    + Integer.toHexString(size));
        }
    }

    /** Reads an SPI's register. If this succeeds, the VGIC is initialized, so its number of interrupts is final. */
    final int readRegister(Spi spi, int group, int offset) {
        int word = readRegister(group, offset);
        if (interrupts == 0) {
            interrupts = interrupts();
        }
        if (spi.number() >= interrupts) {
            throw new IllegalArgumentException(spi + " is beyond this VGIC: expected " + Spi.FIRST + "-"
                    + (interrupts - 1) + ", call setInterrupts before init for more");
        }
        return word;
    }

    final int readDistributor(Spi spi, int offset) {
        return readRegister(spi, UapiArm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS, offset);
    }

    final int readRegister(int group, long attribute) {
        return read(KernelCall.VGIC_REGISTER, group, attribute).getInt(0);
    }

    final void writeRegister(int group, long attribute, int value) {
        write(KernelCall.VGIC_REGISTER, group, attribute, VgicCalls.value(value), Integer.toHexString(value));
    }

    /** Reads an attribute, of 8 bytes in the system register group and of 4 bytes in other groups. */
    final ByteBuffer read(KernelCall call, int group, long attribute) {
        return get(call, group, attribute, VgicCalls.value(0L), () -> operands("get", group, attribute));
    }

    /** @param hex the value in hex, for the error message */
    final void write(KernelCall call, int group, long attribute, ByteBuffer value, String hex) {
        set(call, group, attribute, value, () -> operands("set", group, attribute) + " value=0x" + hex);
    }

    private static String operands(String access, int group, long attribute) {
        return access + " group=" + group + " attribute=0x" + Long.toHexString(attribute);
    }

    /**
     * Makes an SPI level-triggered, so that it is pending while its line is high.
     *
     * @throws io.kvmirq.KernelException as {@link #readDistributor}
     * @throws IllegalArgumentException if the VGIC lacks the SPI
     */
    public void makeLevel(Spi spi) {
        configure(spi, 0);
    }

    /**
     * Makes an SPI edge-triggered, its initial setting. A rising edge is latched until the guest takes the interrupt.
     *
     * @throws io.kvmirq.KernelException as {@link #readDistributor}
     * @throws IllegalArgumentException if the VGIC lacks the SPI
     */
    public void makeEdge(Spi spi) {
        configure(spi, 2);
    }

    /** GICD_ICFGR has two bits per interrupt. The upper bit is 1 if the interrupt is edge-triggered. */
    private synchronized void configure(Spi spi, int edge) {
        int offset = CONFIGURATIONS + spi.number() / PER_CONFIGURATION * Integer.BYTES;
        int shift = 2 * (spi.number() % PER_CONFIGURATION);
        writeDistributor(offset, readDistributor(spi, offset) & ~(2 << shift) | edge << shift);
    }
}
