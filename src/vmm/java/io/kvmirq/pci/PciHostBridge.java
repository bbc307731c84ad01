/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A guest's PCI bus 0, with at most one device per slot. Slot 0 is the bridge itself. An x86 guest finds the devices
 * through configuration mechanism 1, at ports 0xcf8 and 0xcfc. Mechanism 1 needs no ACPI, and Linux uses it with {@code
 * pci=conf1}. An arm64 guest finds the devices through ECAM, a memory area with 4 KiB of configuration space for each
 * function. Like firmware, the bridge assigns an address to each BAR, in a hole of guest memory for memory BARs, and
 * from 0xc000 on for port BARs. The guest may change the addresses of BARs.
 *
 * <pre>{@code
 * PciHostBridge bus = new PciHostBridge(0xc0000000L, 0x3ec00000L);
 * ...
 * VcpuExit exit = vcpu.run();
 * if (!bus.handle(exit)) { ... }
 * }</pre>
 *
 * <p>The hole for memory BARs must not overlap guest memory, and E820 must not list the hole. The guest cannot access a
 * BAR outside the hole or on guest memory. As in hardware, each access is decoded with the BARs' current addresses, and
 * doorbells and mapped memory follow each change of an address. Of overlapping BARs, the one in the lowest slot
 * answers, and within a function the one with the lowest index.
 *
 * <p>Thread-safe. Sources: PCI Local Bus Specification 3.0, 3.2.2.3.2; PCI Express Base Specification 6.0, 7.2.2.
 *
 * {@snippet class="io.kvmirq.snippets.VmmSnippetsTest" region="function"}
 */
public final class PciHostBridge {
    /** The number of slots on a bus, including the bridge's slot 0. */
    public static final int SLOTS = 32;

    /** The size of the ECAM of bus 0 in bytes. */
    static final int ECAM_BYTES = 1 << 20;

    private static final int CONFIG_ADDRESS = 0xcf8;
    private static final int CONFIG_DATA = 0xcfc;
    private static final int ENABLE = 1 << 31;
    private static final int READABLE = ENABLE | 0xfffffc;
    private static final long LAST = 0xffff_ffffL;
    private static final long NO_ECAM = -ECAM_BYTES;
    private static final int SLOT_SHIFT = 15;
    /** The bytes of a function's configuration space that the guest sees. Extended registers are not shown. */
    private static final int REGISTERS = 256;

    private static final int EXTENDED_REGISTERS = 4096;
    private static final int FUNCTIONS = 7 << 12;

    // Registers of the bridge, 00:00.0
    private static final int IDS = 0x0008_1b36;
    private static final int CLASS_AT = 8;
    private static final int HOST_BRIDGE = 0x0600_0000;

    private final long hole;
    private final long holeEnd;
    private final long ecam;
    private final @Nullable PciFunction[] slots = new PciFunction[SLOTS];
    private final BusAddresses addresses;
    private final List<Wire> wires = new ArrayList<>();

    private int address;

    /**
     * An interrupt pin of a device on the bus, for the guest's MP table or device tree.
     *
     * @param slot the device's slot, 1 to 31
     * @param pin the device's interrupt pin: 0 is INTA#
     * @param gsi the level-triggered IOAPIC pin of the device, or on arm64 the GSI of its SPI
     */
    public record Line(int slot, int pin, Gsi gsi) {
        public Line {
            Objects.requireNonNull(gsi, "gsi is null");
        }
    }

    /**
     * Creates an x86 bus without devices.
     *
     * @param hole the guest-physical address of the hole for memory BARs, a multiple of 4096, below 4 GiB
     * @param length the size of the hole in bytes, a multiple of 4096
     */
    public PciHostBridge(long hole, long length) {
        this(hole, length, NO_ECAM);
    }

    /** Creates an arm64 bus without devices. ECAM is at {@code ecam}, a multiple of 1 MiB outside the hole. */
    public static PciHostBridge withEcam(long hole, long length, long ecam) {
        boolean isOutside = ecam + ECAM_BYTES <= hole || ecam >= hole + length;
        if (ecam < 0 || ecam % ECAM_BYTES != 0 || !isOutside) {
            throw new IllegalArgumentException("an ECAM at 0x" + Long.toHexString(ecam)
                    + ": expected a multiple of 1 MiB outside of the hole for BARs");
        }
        return new PciHostBridge(hole, length, ecam);
    }

    private PciHostBridge(long hole, long length, long ecam) {
        if (hole < 0 || length <= 0 || hole % 4096 != 0 || length % 4096 != 0 || hole + length - 1 > LAST) {
            throw new IllegalArgumentException("a hole of 0x" + Long.toHexString(length) + " bytes at 0x"
                    + Long.toHexString(hole) + ": expected multiples of 4096, below 4 GiB");
        }
        this.hole = hole;
        this.holeEnd = hole + length;
        this.ecam = ecam;
        this.addresses = new BusAddresses(hole, holeEnd);
    }

    // Devices, which have their own locks: they are called without this object's lock

    synchronized void requireFree(int slot) {
        if (slot < 1 || slot >= SLOTS) {
            throw new IllegalArgumentException("slot " + slot + ": expected 1 to " + (SLOTS - 1));
        }
        if (slots[slot] != null) {
            throw new IllegalArgumentException(slots[slot] + " is already there: choose a free slot");
        }
    }

    synchronized void attach(PciFunction device, int slot) {
        requireFree(slot);
        slots[slot] = device;
    }

    BusAddresses addresses() {
        return addresses;
    }

    /** @throws IllegalArgumentException if memory overlaps the hole or the ECAM */
    void requireOutside(GuestMemory memory) {
        requireOutside(memory, "the hole for BARs", hole, holeEnd);
        if (ecam != NO_ECAM) {
            requireOutside(memory, "the ECAM", ecam, ecam + ECAM_BYTES);
        }
    }

    /** @throws IllegalArgumentException if the BAR hole or the ECAM contains VM memory other than mapped BAR parts */
    void requireOutside(Vm vm) {
        requireNone(vm, "the hole for BARs", hole, holeEnd);
        if (ecam != NO_ECAM) {
            requireNone(vm, "the ECAM", ecam, ecam + ECAM_BYTES);
        }
    }

    private void requireNone(Vm vm, String place, long start, long end) {
        if (addresses.hasMemory(vm, start, end)) {
            throw inside("guest memory of " + vm, place, start, end);
        }
    }

    private static IllegalArgumentException inside(Object memory, String place, long start, long end) {
        return new IllegalArgumentException(memory + " is in " + place + ", 0x" + Long.toHexString(start) + " to 0x"
                + Long.toHexString(end - 1) + ": add the memory below and above it separately");
    }

    private static void requireOutside(GuestMemory memory, String place, long start, long end) {
        if (memory.guestAddress() < end
                && memory.guestAddress() + memory.mapping().length() > start) {
            throw inside(memory, place, start, end);
        }
    }

    void detach(PciFunction device) {
        synchronized (this) {
            for (int slot = 0; slot < SLOTS; slot++) {
                slots[slot] = slots[slot] == device ? null : slots[slot];
            }
        }
        addresses.detach(device.bars);
        addresses.settle();
    }

    /** Returns the devices on the bus, ordered by slot. */
    public synchronized List<PciFunction> devices() {
        return Stream.of(slots).flatMap(Stream::ofNullable).toList();
    }

    private synchronized @Nullable PciFunction device(int slot) {
        return slots[slot];
    }

    /** Returns the wire to share: an existing one with the same receiver and GSI, or else this one. */
    synchronized Wire shared(Wire wire) {
        Optional<Wire> other = wires.stream().filter(wire::isSame).findFirst();
        if (other.isEmpty()) {
            wires.add(wire);
        }
        return other.orElse(wire);
    }

    /** Returns the interrupt pins of the devices, ordered by slot. */
    public List<Line> lines() {
        return devices().stream().flatMap(device -> device.line().stream()).toList();
    }

    /** Resets each device by {@link PciFunction#reset} when the guest resets. */
    public void reset() {
        synchronized (this) {
            address = 0;
        }
        addresses.resetPorts();
        devices().forEach(PciFunction::reset);
    }

    // The guest's accesses

    /**
     * Handles a guest access to the bus. The bus answers each access to the hole, and to each port from 0xc000 on that
     * a BAR has or had. Where no BAR is, a read returns all ones and a write has no effect. Other ports from 0xc000 on
     * belong to the VMM.
     *
     * @return false, without doing anything, if the exit is not an access to the bus
     */
    public boolean handle(VcpuExit exit) {
        boolean ports = exit.reason() == VcpuExit.Reason.IO;
        if (!ports && exit.reason() != VcpuExit.Reason.MMIO) {
            return false;
        }
        long at = ports ? exit.port() : exit.address();
        int size = exit.size();
        if (!isOurs(ports, at, size)) {
            return false;
        }
        for (int i = 0; i < exit.count(); i++) {
            if (exit.isWrite()) {
                write(ports, at, size, exit.data(i));
            } else {
                exit.answer(i, read(ports, at, size));
            }
        }
        return true;
    }

    private static boolean isAddress(boolean ports, long at, int size) {
        return ports && at == CONFIG_ADDRESS && size == Integer.BYTES;
    }

    private static boolean isData(boolean ports, long at) {
        return ports && at >= CONFIG_DATA && at < CONFIG_DATA + Integer.BYTES;
    }

    private boolean isEcam(boolean ports, long at) {
        return !ports && at >= ecam && at < ecam + ECAM_BYTES;
    }

    /** Whether the bus decodes an access: to configuration space, a port BAR, or the PCI hole. */
    boolean isOurs(boolean ports, long at, int size) {
        return isAddress(ports, at, size)
                || isData(ports, at)
                || isEcam(ports, at)
                || (ports ? addresses.isPort(at, size) : addresses.inHole(at));
    }

    /**
     * Handles a guest read from a port or memory without a {@link VcpuExit}, for a VMM that decodes accesses itself, or
     * a test without a guest.
     *
     * @param at the port, or the guest-physical address
     * @param size the number of bytes, 1 to 8
     * @return the bytes, zero-extended; all ones if no register is there
     */
    public long read(boolean ports, long at, int size) {
        requireSize(size);
        return readAny(ports, at, size) & -1L >>> Long.SIZE - size * Byte.SIZE;
    }

    private static void requireSize(int size) {
        if (size < 1 || size > Long.BYTES) { // KVM splits an access at the end of a page
            throw new IllegalArgumentException("an access of " + size + " bytes: expected 1 to 8");
        }
    }

    private long readAny(boolean ports, long at, int size) {
        if (isAddress(ports, at, size)) {
            synchronized (this) {
                return address & LAST;
            }
        }
        if (isData(ports, at)) {
            int offset = (int) at - CONFIG_DATA;
            return readConfig(chosen(offset, size), register(offset), size);
        }
        if (isEcam(ports, at)) {
            return readConfig(slotAt(at, size), (int) (at % EXTENDED_REGISTERS), size);
        }
        BusAddresses.Place place = addresses.at(ports, at, size);
        PciFunction device = place == null ? null : device(place.owner().slot());
        return place == null || device == null ? -1 : device.read(place.bar(), at, size);
    }

    /** Handles a guest write to a port or memory without a {@link VcpuExit}, like {@link #read}. */
    public void write(boolean ports, long at, int size, long value) {
        requireSize(size);
        if (isAddress(ports, at, size)) {
            synchronized (this) {
                address = (int) value & READABLE;
            }
        } else if (isData(ports, at)) {
            int offset = (int) at - CONFIG_DATA;
            writeConfig(chosen(offset, size), register(offset), size, (int) value);
        } else if (isEcam(ports, at)) {
            writeConfig(slotAt(at, size), (int) (at % EXTENDED_REGISTERS), size, (int) value);
        } else {
            BusAddresses.Place place = addresses.at(ports, at, size);
            PciFunction device = place == null ? null : device(place.owner().slot());
            if (place != null && device != null) {
                device.write(place.bar(), at, size, value);
            }
        }
    }

    /** The slot in the guest's CONFIG_ADDRESS, negative for none. */
    private synchronized int chosen(int at, int size) {
        boolean isAligned = size <= Integer.BYTES && at % size == 0;
        boolean isOnBus = (address & 0xff0700) == 0; // bus 0, function 0
        return (address & ENABLE) != 0 && isOnBus && isAligned ? address >>> 11 & SLOTS - 1 : -1;
    }

    private synchronized int register(int at) {
        return (address & 0xfc) + at;
    }

    /** The slot at an ECAM address, negative for none. */
    private int slotAt(long at, int size) {
        int offset = (int) (at - ecam);
        boolean isPlain = size <= Integer.BYTES && at % size == 0 && (offset & FUNCTIONS) == 0;
        return isPlain && offset % EXTENDED_REGISTERS < REGISTERS ? offset >> SLOT_SHIFT : -1;
    }

    private int readConfig(int slot, int register, int size) {
        if (slot == 0) {
            int word = register < Integer.BYTES ? IDS : (register & ~3) == CLASS_AT ? HOST_BRIDGE : 0;
            return word >>> Byte.SIZE * (register & 3);
        }
        PciFunction device = slot < 0 ? null : device(slot);
        return device == null ? -1 : device.readConfig(register, size);
    }

    private void writeConfig(int slot, int register, int size, int value) {
        PciFunction device = slot < 0 ? null : device(slot);
        if (device != null) {
            device.writeConfig(register, size, value);
        }
    }

    @Override
    public String toString() {
        return "PCI bus 0 with devices " + devices();
    }
}
