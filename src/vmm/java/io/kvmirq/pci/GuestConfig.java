/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.vfio.Region;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The configuration space that a guest sees. A byte is passed (the device handles it), kept (stored here, with some
 * bits that the guest can write), or hidden (reads 0), as listed in {@link #HEADER} and {@link #PASSED_CAPABILITIES}.
 * Not thread-safe.
 *
 * <p>Source: PCI Local Bus Specification 3.0, chapter 6; PCI Express Base Specification 6.0, 7.5.
 */
final class GuestConfig {
    static final int SIZE = 256;
    static final int BARS = 6;

    /** The number of bytes that {@link #save} writes. */
    static final int STATE_BYTES = SIZE + 2 * Integer.BYTES;

    // Bits of the COMMAND register
    static final int PORTS = 1;
    static final int MEMORY = 1 << 1;
    private static final int MASTER = 1 << 2;
    static final int INTX_OFF = 1 << 10;

    static final int COMMAND = 4;
    private static final int STATUS = 6;
    private static final int HAS_CAPABILITIES = 1 << 4;
    private static final int INTERRUPT_STATUS = 1 << 3;
    /** The offset of the class code, which has the revision in its low byte. */
    private static final int CLASS = 8;

    static final int BAR_0 = 0x10;
    private static final int SUBSYSTEM = 0x2c;
    private static final int FIRST_CAPABILITY = 0x34;
    /** The lowest offset of a capability. */
    private static final int FIRST_PLACE = 0x40;

    private static final int LINE = 0x3c;
    private static final int PIN = 0x3d;

    /** The place of the MSI-X table or PBA: a BAR and an area in it. */
    record Place(int bar, Region.Area area) {
        boolean has(Bar other, long at) {
            return other.index() == bar && at >= area.at() && at < area.at() + area.length();
        }
    }

    private enum Kind {
        PASSED,
        KEPT,
        HIDDEN
    }

    /** @param writable bits of the first four bytes that the guest can write here */
    private record Row(String name, int at, int length, Kind kind, int writable) {
        Row(String name, int at, int length, Kind kind) {
            this(name, at, length, kind, 0);
        }
    }

    private static final List<Row> HEADER = List.of(
            new Row("vendor and device", 0x00, 4, Kind.PASSED),
            new Row("COMMAND: I/O, memory and bus master go to the device, too", COMMAND, 2, Kind.KEPT, 0x547),
            new Row("STATUS", STATUS, 2, Kind.PASSED),
            new Row("revision and class", 0x08, 4, Kind.PASSED),
            new Row("cache line size", 0x0c, 1, Kind.KEPT, 0xff),
            new Row("latency timer, header type, BIST: one function", 0x0d, 3, Kind.HIDDEN),
            new Row("BARs, whose writable bits follow from their sizes", BAR_0, 4 * BARS, Kind.KEPT),
            new Row("CardBus", 0x28, 4, Kind.HIDDEN),
            new Row("subsystem", 0x2c, 4, Kind.PASSED),
            new Row("ROM", 0x30, 4, Kind.HIDDEN),
            new Row("first capability", FIRST_CAPABILITY, 1, Kind.KEPT),
            new Row("reserved", 0x35, 7, Kind.HIDDEN),
            new Row("interrupt line, interrupt pin", LINE, 2, Kind.KEPT, 0xff),
            new Row("least grant, most latency", 0x3e, 2, Kind.PASSED));

    private static final int POWER = 0x01;
    static final int MSI = 0x05;
    static final int VENDOR = 0x09;
    private static final int EXPRESS = 0x10;
    static final int MSIX = 0x11;
    private static final int ADVANCED = 0x13;

    /**
     * Passed capabilities by id, with their length; 0 for the vendor-specific one, which contains its length. MSI and
     * MSI-X are kept, all others are hidden.
     */
    private static final Map<Integer, Integer> PASSED_CAPABILITIES = Map.of(
            POWER, 8, // power management
            0x03, 8, // vital product data
            VENDOR, 0, 0x0d, 8, // subsystem of a bridge
            EXPRESS, 60, ADVANCED, 6);

    private static final int POWER_STATE = 4;
    private static final int EXPRESS_TYPE = 2;
    private static final int INTEGRATED = 9;
    private static final int EXPRESS_FEATURES = 4;
    private static final int HAS_FUNCTION_RESET = 1 << 28;
    /** The upper byte of Device Control, and its bit that resets the function. */
    private static final int EXPRESS_CONTROL = 9;

    private static final int EXPRESS_RESET = 1 << 7;
    private static final int ADVANCED_CONTROL = 4;
    static final int MSIX_LENGTH = 12;
    private static final int MSIX_WRITABLE = 0xc000;

    private final ConfigSource device;
    private final ByteBuffer image = ByteBuffer.allocate(SIZE).order(ByteOrder.LITTLE_ENDIAN);
    private final byte[] fresh;
    private final byte[] writable = new byte[SIZE];
    private final BitSet passed = new BitSet();
    private int power;
    private int express;
    private boolean hasReset;
    private int advanced;
    private int msix;
    private int msiAt;
    private @Nullable GuestMsi msi;
    private int powerState;
    /** Whether an emulated function asserts INTA#, as its Interrupt Status shows. */
    private boolean asserted;
    /** Whether the device may be a bus master when the guest enables it. */
    private boolean mayMaster = true;

    /**
     * {@code line} is Interrupt Line as firmware sets it, negative without a pin. {@code messages} creates the guest's
     * MSI from the device's Message Control, and is empty without MSI.
     */
    GuestConfig(
            ConfigSource device, List<Bar> bars, int line, boolean hasMsix, Optional<IntFunction<GuestMsi>> messages) {
        this.device = device;
        for (Row row : HEADER) {
            add(row);
        }
        if (line >= 0) {
            image.put(LINE, (byte) line).put(PIN, (byte) Math.max(1, device.getByte(PIN)));
        }
        for (Bar bar : bars) {
            setBar(bar, 0);
            for (int i = 0; i < (bar.is64() ? Long.BYTES : Integer.BYTES); i++) {
                writable[BAR_0 + 4 * bar.index() + i] = (byte) (bar.writable() >>> Byte.SIZE * i);
            }
        }
        addCapabilities(hasMsix, messages);
        fresh = image.array().clone();
    }

    private void add(Row row) {
        for (int i = 0; i < row.length; i++) {
            passed.set(row.at + i, row.kind == Kind.PASSED);
            writable[row.at + i] = (byte) (i < Integer.BYTES ? row.writable >>> Byte.SIZE * i : 0);
        }
    }

    /** The offsets of the device's capabilities. An endless list is cut off at the number of capabilities that fit. */
    private List<Integer> capabilities() {
        List<Integer> found = new ArrayList<>();
        int at = (device.getShort(STATUS) & HAS_CAPABILITIES) == 0 ? 0 : device.getByte(FIRST_CAPABILITY) & ~3;
        while (at >= FIRST_PLACE && !found.contains(at)) {
            found.add(at);
            at = device.getByte(at + 1) & ~3;
        }
        return found;
    }

    /** Links the capabilities that the guest sees. Each is cut off where the next one begins. */
    private void addCapabilities(boolean hasMsix, Optional<IntFunction<GuestMsi>> messages) {
        int link = FIRST_CAPABILITY;
        List<Integer> places = capabilities();
        for (int at : places) {
            int id = device.getByte(at);
            int length = PASSED_CAPABILITIES.getOrDefault(id, id == MSIX && hasMsix ? MSIX_LENGTH : -1);
            if (id == MSI && messages.isPresent()) {
                msiAt = at;
                msi = messages.get().apply(device.getShort(at + 2));
                length = msi.length();
            }
            if (length >= 0) {
                image.put(link, (byte) at).put(at, (byte) id);
                link = at + 1;
                int end = places.stream()
                        .filter(other -> other > at)
                        .min(Integer::compare)
                        .orElse(SIZE);
                addCapability(id, at, Math.min(end - at, id == VENDOR ? device.getByte(at + 2) : length));
            }
        }
    }

    private void addCapability(int id, int at, int length) {
        switch (id) {
            case MSIX -> {
                msix = at;
                image.putShort(at + 2, (short) device.getShort(at + 2));
                add(new Row("MSI-X", at + 2, length - 2, Kind.KEPT, MSIX_WRITABLE));
                image.putInt(at + 4, device.getInt(at + 4)).putInt(at + 8, device.getInt(at + 8));
                return;
            }
            case MSI -> {
                return;
            }
            case POWER -> power = at;
            case EXPRESS -> {
                express = at;
                hasReset = (device.getInt(at + EXPRESS_FEATURES) & HAS_FUNCTION_RESET) != 0;
            }
            case ADVANCED -> advanced = at;
            default -> {}
        }
        add(new Row("a capability that is passed", at + 2, length - 2, Kind.PASSED));
        if (id == EXPRESS) { // the guest sees no port above it
            add(new Row("the kind of its port", at + EXPRESS_TYPE, 2, Kind.KEPT));
            int type = device.getShort(at + EXPRESS_TYPE) & ~0xf0 | INTEGRATED << 4;
            image.putShort(at + EXPRESS_TYPE, (short) type);
        }
    }

    // Content

    int command() {
        return image.getShort(COMMAND);
    }

    /** Whether a write leaves bus mastering enabled. */
    boolean willMaster(int at, int size, int value) {
        return (byteOf(COMMAND, at, size, value) & MASTER) != 0;
    }

    /** Sets whether the device becomes a bus master when the guest enables bus mastering, or never. */
    void letMaster(boolean allowed) {
        mayMaster = allowed;
    }

    /** Whether the guest has enabled decoding of this kind of BAR. */
    boolean decodes(Bar bar) {
        return powerState == 0 && (command() & (bar.isPorts() ? PORTS : MEMORY)) != 0;
    }

    long address(Bar bar) {
        int at = BAR_0 + Integer.BYTES * bar.index();
        return bar.address(bar.is64() ? image.getLong(at) : Integer.toUnsignedLong(image.getInt(at)));
    }

    void setBar(Bar bar, long address) {
        int at = BAR_0 + Integer.BYTES * bar.index();
        long register = bar.register(address);
        if (bar.is64()) {
            image.putLong(at, register);
        } else {
            image.putInt(at, (int) register);
        }
    }

    /** The guest's MSI. Empty without MSI. */
    Optional<GuestMsi> msi() {
        return Optional.ofNullable(msi);
    }

    /** Whether an access touches the MSI capability beyond its id. */
    boolean isMsi(int at, int size) {
        return msi != null && at < msiAt + msi.length() && at + size > msiAt + 2;
    }

    boolean willEnableMsi(int at, int size, int value) {
        return (byteOf(msiAt + 2, at, size, value) & 1) != 0;
    }

    /** Passes on those bytes of a guest write that belong to the MSI capability. */
    void writeMsi(int at, int size, int value) {
        Objects.requireNonNull(msi).write(at - msiAt, size, value);
    }

    boolean isMessageControl(int at, int size) {
        return msix != 0 && at < msix + 4 && at + size > msix + 2;
    }

    /** The table of MSI-X. */
    Optional<Place> table() {
        return place(4, (messageControl() & 0x7ff) + 1 << 4);
    }

    /** The PBA of MSI-X. */
    Optional<Place> pending() {
        return place(8, ((messageControl() & 0x7ff) >>> 6) + 1 << 3);
    }

    /** The parts of a BAR that the VMM emulates. */
    List<Region.Area> trapped(Bar bar) {
        return Stream.of(table(), pending())
                .filter(place -> place.isPresent() && place.get().bar() == bar.index())
                .map(place -> place.get().area())
                .toList();
    }

    private Optional<Place> place(int register, int bytes) {
        int word = msix == 0 ? 0 : image.getInt(msix + register);
        return msix == 0 ? Optional.empty() : Optional.of(new Place(word & 7, new Region.Area(word & ~7, bytes)));
    }

    int pin() {
        return image.get(PIN) - 1;
    }

    boolean isAsserted() {
        return asserted;
    }

    void setAsserted(boolean high) {
        asserted = high;
    }

    int messageControl() {
        return msix == 0 ? 0 : image.getShort(msix + 2) & 0xffff;
    }

    void setMessageControl(int value) {
        if (msix != 0) {
            image.putShort(msix + 2, (short) value);
        }
    }

    // The guest's accesses, of 1, 2 or 4 bytes at a multiple of the size

    private static int bits(int size) {
        return size == Integer.BYTES ? -1 : (1 << Byte.SIZE * size) - 1;
    }

    private boolean isPassed(int at, int size) {
        return passed.nextClearBit(at) >= at + size;
    }

    int read(int at, int size) {
        int next = passed.nextSetBit(at);
        int value = next >= 0 && next < at + size ? device.read(at, size) : 0;
        for (int i = 0; i < size; i++) {
            if (!passed.get(at + i)) {
                value = value & ~(0xff << Byte.SIZE * i) | (image.get(at + i) & 0xff) << Byte.SIZE * i;
            }
        }
        if (asserted && STATUS >= at && STATUS < at + size) {
            value |= INTERRUPT_STATUS << Byte.SIZE * (STATUS - at);
        }
        if (isMsi(at, size)) {
            value |= Objects.requireNonNull(msi).read(at - msiAt, size);
        }
        return value & bits(size);
    }

    /** Whether a write resets the function. If so, its other bits are ignored. */
    boolean resets(int at, int size, int value) {
        return hasReset && (byteOf(express + EXPRESS_CONTROL, at, size, value) & EXPRESS_RESET) != 0
                || advanced != 0 && (byteOf(advanced + ADVANCED_CONTROL, at, size, value) & 1) != 0;
    }

    /** The byte of a write at an offset; 0 if the write does not contain it. */
    private static int byteOf(int offset, int at, int size, int value) {
        return offset >= at && offset < at + size ? value >>> Byte.SIZE * (offset - at) & 0xff : 0;
    }

    /** Does the first half of a write, which stores the emulated bits. */
    void keep(int at, int size, int value) {
        for (int i = at; i < at + size; i++) {
            int bits = writable[i];
            image.put(i, (byte) (image.get(i) & ~bits | byteOf(i, at, size, value) & bits));
            powerState = power != 0 && i == power + POWER_STATE ? byteOf(i, at, size, value) & 3 : powerState;
        }
    }

    /** Does the second half of a write, which passes the device's bits to it. */
    void pass(int at, int size, int value) {
        if (isPassed(at, size)) {
            device.write(at, size, value);
        } else if (size > 1) {
            int half = size / 2;
            pass(at, half, value & bits(half));
            pass(at + half, half, value >>> Byte.SIZE * half & bits(half));
        } else if (at == COMMAND) {
            passCommand();
        }
    }

    private void passCommand() {
        device.putShort(COMMAND, command() & (PORTS | MEMORY | (mayMaster ? MASTER : 0)));
    }

    /** Sets the registers to their reset values, and disables the device's DMA. */
    void reset() {
        image.put(0, fresh);
        asserted = false;
        powerState = 0;
        if (power != 0) { // a device without a reset may sleep
            device.putShort(power + POWER_STATE, 0);
        }
        device.putShort(COMMAND, 0);
    }

    // Save and restore

    /** A text that is equal for devices with the same register layout. */
    String identity(List<Bar> bars) {
        StringBuilder text = new StringBuilder(String.format(
                "%04x:%04x of class %06x, revision %02x, subsystem %04x:%04x, INT pin %d",
                device.getShort(0),
                device.getShort(2),
                device.getInt(CLASS) >>> Byte.SIZE,
                device.getByte(CLASS),
                device.getShort(SUBSYSTEM),
                device.getShort(SUBSYSTEM + 2),
                image.get(PIN)));
        bars.forEach(bar -> text.append(String.format(", %s 0x%x of 0x%x bytes", bar, bar.register(0), bar.size())));
        int at = image.get(FIRST_CAPABILITY) & 0xff;
        for (; at != 0; at = image.get(at + 1) & 0xff) {
            text.append(String.format(", capability 0x%02x at 0x%02x", image.get(at), at));
        }
        table().ifPresent(table -> text.append(", table of BAR ").append(table));
        pending().ifPresent(pending -> text.append(", PBA of BAR ").append(pending));
        return text.toString();
    }

    /** Saves the emulated registers that the guest wrote, the power state, and PCI Express Device Control. */
    void save(ByteBuffer to) {
        to.put(image.array())
                .putInt(powerState)
                .putInt(
                        express == 0
                                ? 0
                                : device.getShort(express + EXPRESS_CONTROL - 1) & ~(EXPRESS_RESET << Byte.SIZE));
    }

    /** Restores the output of {@link #save}, including in the device. */
    void restore(ByteBuffer from) {
        for (int i = 0; i < SIZE; i++) {
            byte saved = from.get();
            image.put(i, (byte) (image.get(i) & ~writable[i] | saved & writable[i]));
        }
        int state = from.getInt() & 3;
        int control = from.getInt();
        passCommand();
        if (express != 0) {
            device.putShort(express + EXPRESS_CONTROL - 1, control & ~(EXPRESS_RESET << Byte.SIZE));
        }
        if (power != 0) {
            powerState = state;
            device.putShort(power + POWER_STATE, state);
        }
    }
}
