/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import static io.kvmirq.fake.vfio.PciImage.*;

import io.kvmirq.arch.intx.model.InterruptMode;
import io.kvmirq.arch.intx.model.IntxDevice;
import io.kvmirq.arch.intx.model.VfioIntx;
import io.kvmirq.fake.vfio.PciFunction.Trait;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The configuration space in the hardware of a device. The caller of each method holds the kernel's lock. Source: PCI
 * 3.0 chapter 6, PCI Express 3.0 chapter 7.
 */
final class PciRegisters {
    /** DisINTx, in the upper byte of COMMAND. */
    private static final int DIS_INTX = 1 << 2;

    private static final int INTX_PENDING = 1 << 3;
    private static final int MSIX_ENABLE = 1 << 7;
    private static final int MSI_ENABLE = 1;
    private static final int MSI_COUNT_SHIFT = 4;
    private static final int POWER_STATE = 3;
    private static final int D3HOT = 3;

    /** The bytes with bits that the device's interrupt hardware sets. */
    private static final int[] DRIVEN = {COMMAND + 1, STATUS, MSIX_AT + FLAGS + 1};

    private final PciFunction function;
    private final IntxDevice device;
    private final VfioIntx intx;
    private final PciImage image;
    private final ByteBuffer now;
    /** The configuration space when the device was opened. */
    private byte[] opened;

    PciRegisters(PciFunction function, IntxDevice device, VfioIntx intx) {
        this.function = function;
        this.device = device;
        this.intx = intx;
        this.image = new PciImage(function);
        this.opened = image.values().clone();
        this.now = ByteBuffer.wrap(image.values().clone()).order(ByteOrder.LITTLE_ENDIAN);
        setPower(D3HOT);
    }

    int size() {
        return now.capacity();
    }

    byte[] bytes() {
        byte[] bytes = now.array().clone();
        for (int at : DRIVEN) {
            bytes[at] = (byte) read(at);
        }
        return bytes;
    }

    int read(int at) {
        int value = now.get(at) & 0xff;
        return switch (at) {
            case COMMAND + 1 -> value | (device.isDisabled() ? DIS_INTX : 0);
            case STATUS -> value | (function.disIntx() && device.isRequesting() ? INTX_PENDING : 0);
            case MSIX_AT + FLAGS + 1 -> value | (intx.mode() == InterruptMode.MSIX ? MSIX_ENABLE : 0);
            default -> value;
        };
    }

    void write(int at, int value) {
        int bits = image.writable(at);
        now.put(at, (byte) (now.get(at) & ~bits | value & bits));
    }

    // The life of the device

    /** {@code pci_enable_device()}, after {@code pci_clear_master()}. */
    void open() {
        setPower(0);
        int spaces = (function.hasBars(true) ? PORTS : 0) | (function.hasBars(false) ? MEMORY : 0);
        now.putShort(COMMAND, (short) (now.getShort(COMMAND) & ~MASTER | spaces));
        opened = now.array().clone();
    }

    /** Restores the state that was saved at open. Then the device sleeps, if it can. */
    void close() {
        image.kept().stream().forEach(at -> now.put(at, opened[at]));
        setPower(D3HOT);
    }

    /**
     * A function reset. The kernel restores a part; bytes outside capabilities stay, as in QEMU's devices. Without such
     * a reset, {@code pci_pm_reset()} changes nothing in the configuration space.
     */
    void reset() {
        if (function.express() && (now.getInt(image.start(EXPRESS_ID) + DEVICE_CAPABILITIES) & FUNCTION_RESET) == 0) {
            setPower(0);
            return;
        }
        image.reset().stream().forEach(at -> now.put(at, image.values()[at]));
    }

    // The state

    boolean isMaster() {
        return (now.getShort(COMMAND) & MASTER) != 0;
    }

    /** Whether the device decodes accesses to its I/O ports or its memory. */
    boolean answers(int space) {
        return (now.getShort(COMMAND) & space) != 0 && !isAsleep();
    }

    /** Whether the device is in D3hot. */
    boolean isAsleep() {
        return function.has(Trait.POWER) && (now.get(POWER_AT + POWER_CONTROL) & POWER_STATE) == D3HOT;
    }

    /** {@code pci_set_power_state()} to D0 or D3hot, the only modelled states. The kernel writes 0 for D0. */
    void setPower(int state) {
        int at = POWER_AT + POWER_CONTROL;
        if (state == 0 && isAsleep()) {
            now.put(at, (byte) (now.get(at) & ~image.writable(at)));
            now.put(at + 1, (byte) (now.get(at + 1) & ~image.writable(at + 1)));
        }
        if (function.has(Trait.POWER) && (state == 0 || state == D3HOT)) {
            now.put(at, (byte) (now.get(at) & ~POWER_STATE | state));
        }
    }

    /** The kernel enables MSI for this many vectors, or disables it for 0. */
    void setMsi(int vectors) {
        int log = Integer.SIZE - Integer.numberOfLeadingZeros(vectors - 1);
        int max = now.get(MSI_AT + FLAGS) & ~image.writable(MSI_AT + FLAGS);
        int enabled = vectors == 0 ? 0 : MSI_ENABLE | log << MSI_COUNT_SHIFT;
        now.put(MSI_AT + FLAGS, (byte) (max | enabled));
    }

    boolean isMsiEnabled() {
        return (now.get(MSI_AT + FLAGS) & MSI_ENABLE) != 0;
    }

    /** Whether the mask bit of a vector of MSI is set. */
    boolean isMsiMasked(int vector) {
        return function.has(Trait.MSI_MASKS) && (now.getInt(MSI_AT + MSI_MASKS) >>> vector & 1) != 0;
    }

    void setMsiMasked(int vector, boolean masked) {
        setBit(MSI_AT + MSI_MASKS, vector, masked);
    }

    void setMsiPending(int vector, boolean pending) {
        setBit(MSI_AT + MSI_PENDING, vector, pending);
    }

    void clearMsiPending() {
        if (function.has(Trait.MSI_MASKS)) {
            now.putInt(MSI_AT + MSI_PENDING, 0);
        }
    }

    /** Sets or clears a vector's bit; does nothing without mask bits. */
    private void setBit(int at, int vector, boolean on) {
        if (function.has(Trait.MSI_MASKS)) {
            int bit = 1 << vector;
            now.putInt(at, on ? now.getInt(at) | bit : now.getInt(at) & ~bit);
        }
    }
}
