/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.MsiMessage;
import io.kvmirq.NotPromised;
import io.kvmirq.PciAddress;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.IrqHardware;
import io.kvmirq.fake.posting.PostingVcpu;
import io.kvmirq.fake.posting.UnitEntry;
import io.kvmirq.fake.vfio.PciBar;
import io.kvmirq.fake.vfio.PciFunction;
import io.kvmirq.fake.vfio.PciFunction.Trait;
import io.kvmirq.fake.vfio.VfioPci;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.stream.IntStream;

/**
 * A PCI device on a fake host, which programs use through VFIO. The methods act as the device's hardware. Thread-safe.
 *
 * <p>Programs see the configuration space as vfio-pci shows it, with BAR sizes, virtualized bits, resets and power
 * states. The BARs and the MSI-X table keep the values written to them, but a VFIO read of the MSI-X table returns all
 * ones. The MSI-X table has its own BAR, unless {@link Builder#msixTable} is called.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="device"}
 */
public final class FakePciDevice {
    private static final int LAST_BAR = 5;
    private static final int PAGE = 4096;
    private static final int MOST_MSI = 32;
    private static final int MSIX_ENTRY = 16;
    private static final int MOST_PORTS = 256;
    private static final int VENDOR = 9;
    /** Slot identification, CompactPCI, hot plug, debug port, subsystem id, AGP 8x, secure device, and newer ids. */
    private static final List<Integer> HIDDEN = List.of(4, 6, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf, 0x14);

    private static final int PCI_TESTDEV = 0x0005_1b36;

    private final FakeTime time;
    private final VfioPci device;

    private FakePciDevice(FakeTime time, VfioPci device) {
        this.time = time;
        this.device = device;
    }

    /** Builds a PCI device. By default the device has no interrupts and no reset, and is not PCI Express. */
    public static final class Builder {
        private final FakeKernel kernel;
        private final PciAddress address;
        private final int group;
        private int ids = PCI_TESTDEV;
        private final EnumSet<Trait> traits = EnumSet.of(Trait.DIS_INTX);
        private Optional<FakePciDevice> neighbour = Optional.empty();
        private int msi;
        private int msix;
        private OptionalInt tableBar = OptionalInt.empty();
        private int tableAt;
        private OptionalInt pendingBar = OptionalInt.empty();
        private int pendingAt;
        private final Map<Integer, PciBar> bars = new TreeMap<>();
        private final List<ByteBuffer> others = new ArrayList<>();
        private final List<PciFunction.Register> registers = new ArrayList<>();

        Builder(FakeKernel kernel, PciAddress address, int group) {
            this.kernel = kernel;
            this.address = address;
            this.group = group;
        }

        /** Sets vendor id and device id, 16 bits each. The default is 1b36:0005, QEMU's pci-testdev. */
        public Builder ids(int vendor, int device) {
            ids = vendor & 0xffff | device << 16;
            return this;
        }

        /** Adds an interrupt pin. */
        public Builder intx() {
            return with(Trait.INTX);
        }

        private Builder with(Trait trait) {
            traits.add(trait);
            return this;
        }

        /**
         * Adds an interrupt pin, but no DisINTx bit, as in devices before PCI 2.3. A device without DisINTx cannot
         * share its interrupt line.
         */
        public Builder intxWithoutDisIntx() {
            traits.remove(Trait.DIS_INTX);
            return intx();
        }

        /** Adds an interrupt pin on a line that is shared with a host driver. */
        public Builder onSharedLine() {
            return with(Trait.SHARES_LINE).intx();
        }

        /**
         * Connects the device's interrupt pin to the line of another device, which may belong to the same VM or to
         * another VM. By default the device has its own line. A line connects at most 64 devices and drivers.
         *
         * @throws IllegalArgumentException if the other device has no pin, or belongs to another kernel
         */
        public Builder onLineOf(FakePciDevice other) {
            Objects.requireNonNull(other, "other is null");
            if (other.time != kernel.time()) {
                throw new IllegalArgumentException("the two devices belong to two kernels: add both to one");
            }
            if (!other.device.hasPin()) {
                throw new IllegalArgumentException("the other device has no interrupt pin: add it with INTx");
            }
            neighbour = Optional.of(other);
            return intx();
        }

        /** Adds MSI with 1, 2, 4, 8, 16 or 32 vectors. */
        public Builder msi(int vectors) {
            if (vectors < 1 || vectors > MOST_MSI || Integer.bitCount(vectors) != 1) {
                throw new IllegalArgumentException(vectors + " vectors of MSI: expected 1, 2, 4, 8, 16 or 32");
            }
            msi = vectors;
            return this;
        }

        /** Adds MSI with 1, 2, 4, 8, 16 or 32 vectors, each with a mask bit in configuration space. */
        public Builder maskableMsi(int vectors) {
            return with(Trait.MSI_MASKS).msi(vectors);
        }

        /** Adds MSI-X with 1 to 2048 vectors. */
        public Builder msix(int vectors) {
            if (vectors < 1 || vectors > MsiMessage.MOST_VECTORS) {
                throw new IllegalArgumentException(
                        vectors + " vectors of MSI-X: expected 1 to " + MsiMessage.MOST_VECTORS);
            }
            msix = vectors;
            return this;
        }

        /** Makes the device a PCI Express device, which has an error interrupt in VFIO. */
        public Builder express() {
            return with(Trait.EXPRESS);
        }

        /** Adds a function-level reset, which a PCI Express device also shows in its configuration space. */
        public Builder resettable() {
            return with(Trait.RESETS);
        }

        /** Allows a program to put the device into D3hot, in which the registers keep their values. */
        public Builder powerManagement() {
            return with(Trait.POWER);
        }

        /**
         * Adds a vendor capability (id 9), or a capability that vfio-pci hides. The third byte of a vendor capability
         * is its length, and its other bytes keep written values. All capabilities together have at most 64 bytes.
         *
         * @param bytes the capability from its id on; the second byte, the pointer to the next capability, is ignored
         * @throws IllegalArgumentException if the capability is of another kind, or shorter than its length byte
         */
        public Builder capability(byte... bytes) {
            Objects.requireNonNull(bytes, "bytes is null");
            boolean vendors = bytes.length > 2 && bytes[0] == VENDOR && bytes[2] == bytes.length;
            if (!vendors && (bytes.length < 2 || !HIDDEN.contains((int) bytes[0]))) {
                throw new IllegalArgumentException("capability " + Arrays.toString(bytes) + ": expected id " + VENDOR
                        + " with its length in the third byte, or an id among " + HIDDEN);
            }
            others.add(ByteBuffer.wrap(bytes.clone()));
            return this;
        }

        /**
         * Sets the reset value and the writable bits of a 16-bit register in the configuration space. Other registers
         * keep their default values and writable bits. vfio-pci decides which bits a user can read and write.
         *
         * @param capability the id of a capability that the device has; 0 for the header
         * @param at the even byte offset of the register: 2 to 254 in a capability (0 has its id and next pointer), or
         *     0 to 62 in the header
         * @throws IllegalArgumentException if {@code at} is odd or out of range
         */
        public Builder register(int capability, int at, int value, int writable) {
            int first = capability == 0 ? 0 : Short.BYTES;
            int last = capability == 0 ? 62 : 254;
            if (at < first || at > last || at % Short.BYTES != 0) {
                throw new IllegalArgumentException("register at " + at + " of capability " + capability
                        + ": expected an even number of bytes from its start, " + first + " to " + last);
            }
            registers.add(new PciFunction.Register(capability, at, value, writable));
            return this;
        }

        /**
         * Adds memory BAR {@code number}, 0 to 5, whose mappable registers keep written values. {@code bytes} is a
         * power of two from 4096 on.
         */
        public Builder bar(int number, int bytes) {
            return bar(number, new PciBar(PciBar.Kind.MEMORY, bytes), LAST_BAR, PAGE, Integer.MAX_VALUE);
        }

        /** Adds a prefetchable 64-bit {@link #bar}, which occupies BAR {@code number} (0 to 4) and the next BAR. */
        public Builder bar64(int number, int bytes) {
            return bar(number, new PciBar(PciBar.Kind.MEMORY_64, bytes), LAST_BAR - 1, PAGE, Integer.MAX_VALUE);
        }

        /** Adds a {@link #bar64} that is not prefetchable. */
        public Builder registers64(int number, int bytes) {
            return bar(number, new PciBar(PciBar.Kind.REGISTERS_64, bytes), LAST_BAR - 1, PAGE, Integer.MAX_VALUE);
        }

        /**
         * Adds port BAR {@code number}, 0 to 5, whose registers keep written values. {@code bytes} is a power of two
         * from 4 to 256.
         */
        public Builder ioBar(int number, int bytes) {
            return bar(number, new PciBar(PciBar.Kind.PORTS, bytes), LAST_BAR, Integer.BYTES, MOST_PORTS);
        }

        private Builder bar(int number, PciBar bar, int last, int min, int max) {
            int bytes = bar.bytes();
            if (number < 0 || number > last || bytes < min || bytes > max || Integer.bitCount(bytes) != 1) {
                throw new IllegalArgumentException("BAR " + number + " of " + bytes + " bytes: expected 0 to " + last
                        + ", and a power of two from " + min + (max == MOST_PORTS ? " to " + max : " on"));
            }
            boolean wide = bar.kind().isWide();
            if (isUpperHalf(number) || wide && bars.containsKey(number + 1)) {
                throw new IllegalArgumentException("BAR " + number
                        + " overlaps another one: a BAR with an address of 64" + " bits takes two numbers");
            }
            bars.put(number, bar);
            return this;
        }

        private boolean isUpperHalf(int number) {
            PciBar below = bars.get(number - 1);
            return below != null && below.kind().isWide();
        }

        /** Puts the MSI-X table into a memory BAR, at a byte offset that is a multiple of 8. */
        public Builder msixTable(int bar, int offset) {
            checkOffset(offset);
            tableBar = OptionalInt.of(bar);
            tableAt = offset;
            return this;
        }

        /** Puts the MSI-X pending bits into a BAR, like {@link #msixTable}. By default they follow the table. */
        public Builder msixPending(int bar, int offset) {
            checkOffset(offset);
            pendingBar = OptionalInt.of(bar);
            pendingAt = offset;
            return this;
        }

        private static void checkOffset(int offset) {
            if (offset < 0 || offset % Long.BYTES != 0) {
                throw new IllegalArgumentException("offset " + offset + " in a BAR: expected a multiple of 8");
            }
        }

        /** Places the MSI-X table; by default it gets the last free BAR to itself. */
        private Optional<PciFunction.Msix> places() {
            if (msix == 0) {
                return Optional.empty();
            }
            int size = msix * MSIX_ENTRY;
            if (tableBar.isEmpty()) {
                int free = IntStream.iterate(LAST_BAR, number -> number - 1)
                        .limit(LAST_BAR + 1)
                        .filter(number -> !bars.containsKey(number) && !isUpperHalf(number))
                        .findFirst()
                        .orElseThrow(() -> new IllegalArgumentException(
                                "no BAR is free for the MSI-X table: set its place with msixTable"));
                int whole = size + msix / Byte.SIZE + Long.BYTES;
                bar(free, Math.max(PAGE, Integer.highestOneBit(2 * whole - 1)));
                tableBar = OptionalInt.of(free);
            }
            int bar = tableBar.getAsInt();
            return Optional.of(
                    pendingBar.isPresent()
                            ? new PciFunction.Msix(msix, bar, tableAt, pendingBar.getAsInt(), pendingAt)
                            : new PciFunction.Msix(msix, bar, tableAt, bar, tableAt + size));
        }

        private PciFunction function() {
            Optional<PciFunction.Msix> places = places();
            return new PciFunction(
                    address,
                    group,
                    ids,
                    traits.clone(),
                    msi,
                    places,
                    Map.copyOf(bars),
                    List.copyOf(others),
                    List.copyOf(registers));
        }

        /** Adds the device to the host, bound to vfio-pci. Throws IllegalArgumentException if its address is in use. */
        public FakePciDevice add() {
            FakeTime time = kernel.time();
            return time.locked(
                    () -> new FakePciDevice(time, kernel.vfio().add(function(), neighbour.map(other -> other.device))));
        }

        /**
         * Adds the device to the host, bound to another driver, so that VFIO cannot use its group. Throws
         * IllegalArgumentException if its address is in use.
         */
        public void addToHost() {
            FakeTime time = kernel.time();
            time.changing(() -> kernel.vfio().addToHost(function()));
        }
    }

    /** The address by which VFIO opens the device. */
    public PciAddress address() {
        return device.address();
    }

    /**
     * The device sends a vector's MSI or MSI-X message, whichever is enabled. Without bus mastering it sends nothing.
     *
     * @return whether the message signalled an eventfd; false, for example, if hardware posted it to a vCPU, see {@link
     *     #irte}
     * @throws IllegalArgumentException if the device has no such vector
     */
    public boolean sendMessage(int vector) {
        return time.changing(() -> device.send(vector));
    }

    /**
     * Returns the host's current IRTE for an MSI or MSI-X vector. Without hardware in the profile, its form is never
     * POSTED.
     *
     * @throws IllegalArgumentException if the device has no such vector
     */
    @NotPromised
    public FakeIrte irte(int vector) {
        return time.locked(() -> {
            Optional<IrqHardware.Entry> entry = device.entry(vector);
            if (entry.isPresent() && entry.get() instanceof UnitEntry unit) {
                UnitEntry.View now = unit.view();
                FakeIrte.Form form = now.posted() ? FakeIrte.Form.POSTED : FakeIrte.Form.REMAPPED;
                return new FakeIrte(form, now.vcpu().map(PostingVcpu::id), now.vector(), unit.words());
            }
            FakeIrte.Form form = entry.isPresent() ? FakeIrte.Form.REMAPPED : FakeIrte.Form.NONE;
            return new FakeIrte(form, Optional.empty(), Optional.empty(), "");
        });
    }

    /** The device asserts its interrupt pin until {@link #serve}. Throws IllegalStateException if it has no pin. */
    public void requestService() {
        time.changing(device::request);
    }

    /** The guest's driver serves the device, which deasserts its pin. */
    public void serve() {
        time.changing(device::serve);
    }

    /** Returns the 32-bit register at an offset in a BAR. Throws IndexOutOfBoundsException outside the BAR. */
    public int register(int bar, int at) {
        return time.locked(() -> device.bars().register(bar, at));
    }

    /** Sets a {@link #register}, as the device does. A reset restores this value, and sets other registers to 0. */
    public void setRegister(int bar, int at, int value) {
        time.changing(() -> device.bars().preset(bar, at, value));
    }

    /** The device reports an uncorrectable error. Returns whether VFIO signalled the error eventfd. */
    public boolean reportError() {
        return time.changing(device::fail);
    }

    /**
     * The host requests the device back from the program, and removes it once the program has closed all its files.
     * Until then the device works, and a program can open more files. Source: {@code vfio_unregister_group_dev()}.
     *
     * @return true if the host has removed the device, false if the program still has it open
     */
    public boolean remove() {
        return time.changing(device::remove);
    }

    /**
     * Locks or unlocks the device as another host thread would, such as one that writes to the device's {@code reset}
     * file in sysfs. While the host holds the lock, VFIO refuses the program's reset with EAGAIN. {@link #remove} holds
     * the lock until the device is removed.
     */
    public void lockByHost(boolean locked) {
        time.locked(() -> {
            device.setLocked(locked);
            return 0;
        });
    }

    /** The host requests the device back from the program. Returns whether VFIO signalled the request eventfd. */
    public boolean askBack() {
        return time.changing(device::askBack);
    }
}
