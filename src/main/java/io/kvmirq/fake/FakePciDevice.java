/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.PciAddress;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.IrqHardware;
import io.kvmirq.fake.posting.UnitEntry;
import io.kvmirq.fake.vfio.PciFunction;
import io.kvmirq.fake.vfio.VfioPci;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * A PCI device of a fake kernel's host, for a user through VFIO. The methods do what the hardware does. Thread-safe.
 *
 * <p>Its configuration space has the header and the capabilities of MSI, MSI-X and PCI Express;
 * a write reaches COMMAND only.
 */
public final class FakePciDevice {
    private static final int LAST_BAR = 5;
    private static final int PAGE = 4096;
    private static final int MOST_MSI = 32;
    private static final int MOST_MSIX = 2048;
    private static final int PCI_TESTDEV = 0x0005_1b36;

    private final FakeTime time;
    private final VfioPci device;

    private FakePciDevice(FakeTime time, VfioPci device) {
        this.time = time;
        this.device = device;
    }

    /** Describes a device. By default it has no interrupts and no reset, and is not PCI Express. */
    public static final class Builder {
        private final FakeKernel kernel;
        private final PciAddress address;
        private final int group;
        private int ids = PCI_TESTDEV;
        private boolean intx;
        private boolean disIntx = true;
        private boolean sharesLine;
        private Optional<FakePciDevice> neighbour = Optional.empty();
        private int msi;
        private int msix;
        private boolean express;
        private boolean resets;
        private final Map<Integer, Integer> bars = new TreeMap<>();

        Builder(FakeKernel kernel, PciAddress address, int group) {
            this.kernel = kernel;
            this.address = address;
            this.group = group;
        }

        /** Sets vendor id and device id, 16 bits each; QEMU's pci-testdev 1b36:0005 unless set. */
        public Builder ids(int vendor, int device) {
            ids = vendor & 0xffff | device << 16;
            return this;
        }

        /** Gives the device an interrupt pin. */
        public Builder intx() {
            intx = true;
            return this;
        }

        /** Gives the device an interrupt pin and no DisINTx, as before PCI 2.3: it needs its line for itself. */
        public Builder intxWithoutDisIntx() {
            disIntx = false;
            return intx();
        }

        /** Gives the device an interrupt pin, and a driver of the host the same interrupt line. */
        public Builder onSharedLine() {
            sharesLine = true;
            return intx();
        }

        /**
         * Gives the device an interrupt pin on the line of another device, of the same VM or of another one. Without
         * this the device has a line of its own. At most 64 devices and drivers share a line.
         *
         * @throws IllegalArgumentException if the other device has no pin, or belongs to another kernel
         */
        public Builder onLineOf(FakePciDevice other) {
            if (other.time != kernel.time()) {
                throw new IllegalArgumentException("the two devices belong to two kernels: add both to one");
            }
            if (!other.device.hasPin()) {
                throw new IllegalArgumentException("the other device has no interrupt pin: add it with INTx");
            }
            neighbour = Optional.of(other);
            return intx();
        }

        /** Gives the device MSI with 1, 2, 4, 8, 16 or 32 vectors. */
        public Builder msi(int vectors) {
            if (vectors < 1 || vectors > MOST_MSI || Integer.bitCount(vectors) != 1) {
                throw new IllegalArgumentException(vectors + " vectors of MSI: expected 1, 2, 4, 8, 16 or 32");
            }
            msi = vectors;
            return this;
        }

        /** Gives the device MSI-X with 1 to 2048 vectors. */
        public Builder msix(int vectors) {
            if (vectors < 1 || vectors > MOST_MSIX) {
                throw new IllegalArgumentException(vectors + " vectors of MSI-X: expected 1 to 2048");
            }
            msix = vectors;
            return this;
        }

        /** Makes the device a PCI Express device, which reports errors. */
        public Builder express() {
            express = true;
            return this;
        }

        /** Gives the device a function reset. */
        public Builder resettable() {
            resets = true;
            return this;
        }

        /**
         * Gives the device a BAR of registers that keep what is written to them. It can be mapped.
         *
         * @param number 0 to 5
         * @param bytes a power of two, 4096 or more
         */
        public Builder bar(int number, int bytes) {
            if (number < 0 || number > LAST_BAR || bytes < PAGE || Integer.bitCount(bytes) != 1) {
                throw new IllegalArgumentException(
                        "BAR " + number + " of " + bytes + " bytes: expected 0 to 5, and a power of two from 4096 on");
            }
            bars.put(number, bytes);
            return this;
        }

        private PciFunction function() {
            return new PciFunction(
                    address, group, ids, intx, disIntx, sharesLine, msi, msix, express, resets, Map.copyOf(bars));
        }

        /**
         * Adds the device, bound to vfio-pci.
         *
         * @throws IllegalArgumentException if a device has the address already
         */
        public FakePciDevice add() {
            FakeTime time = kernel.time();
            return time.locked(
                    () -> new FakePciDevice(time, kernel.vfio().add(function(), neighbour.map(other -> other.device))));
        }

        /**
         * Adds the device, bound to a driver of the host: VFIO cannot use its group.
         *
         * @throws IllegalArgumentException if a device has the address already
         */
        public void addToHost() {
            FakeTime time = kernel.time();
            time.changing(() -> kernel.vfio().addToHost(function()));
        }
    }

    /**
     * The device sends the message of a vector of MSI or MSI-X, whichever is enabled. It sends nothing unless it is bus
     * master.
     *
     * @return whether an eventfd was signalled: not if the message was posted to a vCPU, see {@link #irte}
     * @throws IllegalArgumentException if the device has no such vector
     */
    public boolean sendMessage(int vector) {
        return time.changing(() -> device.send(vector));
    }

    /**
     * The entry of the host's remapping unit for a vector of MSI or MSI-X, as it is now. Without hardware in the
     * profile every entry is remapped.
     *
     * @throws IllegalArgumentException if the device has no such vector
     */
    public FakeIrte irte(int vector) {
        return time.locked(() -> {
            Optional<IrqHardware.Entry> entry = device.entry(vector);
            if (entry.isPresent() && entry.get() instanceof UnitEntry unit) {
                UnitEntry.View now = unit.view();
                FakeIrte.Form form = now.posted() ? FakeIrte.Form.POSTED : FakeIrte.Form.REMAPPED;
                return new FakeIrte(form, now.vcpu(), now.vector(), now.words());
            }
            FakeIrte.Form form = entry.isPresent() ? FakeIrte.Form.REMAPPED : FakeIrte.Form.NONE;
            return new FakeIrte(form, Optional.empty(), Optional.empty(), "");
        });
    }

    /**
     * The device requests service through its interrupt pin, until {@link #serve}.
     *
     * @throws IllegalStateException if the device has no pin
     */
    public void requestService() {
        time.changing(device::request);
    }

    /** The driver in the guest serves the device, which stops requesting service. */
    public void serve() {
        time.changing(device::serve);
    }

    /**
     * Four bytes of a BAR, as the device itself sees them.
     *
     * @throws IndexOutOfBoundsException outside of it
     */
    public int register(int bar, int at) {
        return time.locked(() -> device.bars().memory(bar).getInt(at));
    }

    /** The device itself changes {@link #register}. */
    public void setRegister(int bar, int at, int value) {
        time.changing(() -> device.bars().memory(bar).putInt(at, value));
    }

    /** The device reports an error that it cannot correct. Returns whether an eventfd was signalled. */
    public boolean reportError() {
        return time.changing(device::fail);
    }

    /**
     * The host removes the device: it asks the user to release the device, and removes it as soon as no file of it is
     * open. Until then everything works as before, and more files can be opened. Source: {@code
     * vfio_unregister_group_dev()}.
     *
     * @return whether the device is gone
     */
    public boolean remove() {
        return time.changing(device::remove);
    }

    /** The host asks the user to release the device. Returns whether an eventfd was signalled. */
    public boolean askBack() {
        return time.changing(device::askBack);
    }
}
