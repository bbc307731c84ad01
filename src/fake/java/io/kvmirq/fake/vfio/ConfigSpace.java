/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import static io.kvmirq.fake.vfio.PciImage.*;

import io.kvmirq.arch.intx.model.InterruptMode;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.vfio.ConfigRules.Access;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Map;

/**
 * The configuration space that VFIO shows for an open device. Each bit is read from the device, or virtual. The caller
 * of each method holds the kernel's lock. Source: drivers/vfio/pci/vfio_pci_config.c.
 */
final class ConfigSpace {
    private static final int WORD = Integer.BYTES;
    private static final int DIS_INTX = 1 << 10;
    private static final int POWER_STATE = 3;
    private static final int RESET_BYTE = 0x80;
    private static final int FEATURES_FLR = 1;
    private static final int MSI_ENABLE = 1;
    private static final int MSI_COUNT = 0x70;
    private static final int MSI_COUNT_SHIFT = 4;

    /** The value for the configuration space's header in {@code map}. */
    private static final byte HEADER = 0;

    private static final byte NONE = -1;

    private final VfioPci device;
    private final PciRegisters hardware;
    private final ByteBuffer virtual;
    /** The id of the capability of each byte. */
    private final byte[] map;
    /** Whether a BAR was written since BARs were last read. */
    private boolean barsWritten;

    private boolean disIntx;
    /** The logarithm of the number of MSI vectors that were last enabled, by this or an earlier user. */
    private int msiMost;

    ConfigSpace(VfioPci device, PciRegisters hardware) {
        this.device = device;
        this.hardware = hardware;
        this.virtual = ByteBuffer.allocate(hardware.size()).order(ByteOrder.LITTLE_ENDIAN);
        this.map = new byte[hardware.size()];
    }

    int size() {
        return map.length;
    }

    void open() {
        Arrays.fill(map, NONE);
        Arrays.fill(virtual.array(), (byte) 0);
        claim(0, HEADER_END, HEADER);
        barsWritten = true;
        disIntx = false;
        claimCapabilities();
    }

    private void claim(int at, int length, byte id) {
        for (int i = at; i < at + length; i++) {
            map[i] = id;
            virtual.put(i, (byte) hardware.read(i));
        }
    }

    /** Builds the map. VFIO leaves unknown capabilities out of the list. */
    private void claimCapabilities() {
        int pointer = FIRST_CAPABILITY;
        for (int at = hardware.read(pointer); at != 0; ) {
            int next = hardware.read(at + 1);
            int length = length(at);
            if (length == 0) {
                virtual.put(pointer, (byte) next);
            } else {
                claim(at, length, (byte) hardware.read(at));
                pointer = at + 1;
            }
            at = next;
        }
        if (pointer == FIRST_CAPABILITY) {
            virtual.put(STATUS, (byte) (virtual.get(STATUS) & ~HAS_CAPABILITIES));
        }
        if (map[POWER_AT] == POWER_ID) {
            // PME is shown as not supported, not enabled and not signalled.
            int flags = POWER_AT + FLAGS + 1;
            virtual.put(flags, (byte) (virtual.get(flags) & 7)).put(POWER_AT + POWER_CONTROL + 1, (byte) 0);
        }
    }

    private int length(int at) {
        boolean masks = (hardware.read(at + FLAGS + 1) << Byte.SIZE & MSI_MASK_BITS) != 0;
        return PciImage.length(hardware.read(at), masks, hardware.read(at + FLAGS));
    }

    /** Notes that VFIO enabled MSI with this many vectors. */
    void setMsi(int vectors) {
        msiMost = Integer.SIZE - Integer.numberOfLeadingZeros(vectors - 1);
    }

    /** Whether the device's memory can be accessed. */
    boolean isMemoryOn() {
        return (virtual.get(COMMAND) & MEMORY) != 0 && !hardware.isAsleep();
    }

    // Accesses

    /** @return whether some of the bytes are outside the space */
    boolean isOutside(long at, long length) {
        return length > size() - at;
    }

    /** Reads to the caller's memory. Returns the number of bytes or a negative errno. */
    long read(KernelOfFile host, long to, int length, int from) {
        for (int done = 0; done < length; ) {
            int count = part(from + done, length - done);
            ByteBuffer value = words().putInt(0, read(from + done, count));
            int refused = host.copyOut(to + done, value, count);
            if (refused < 0) {
                return refused;
            }
            done += count;
        }
        return length;
    }

    /** Writes from the caller's memory, but does not read it for read-only bytes. Returns as {@link #read} does. */
    long write(KernelOfFile host, long from, int length, int to) {
        for (int done = 0; done < length; ) {
            int count = part(to + done, length - done);
            if (rules(to + done).access() != Access.READ_ONLY) {
                ByteBuffer value = host.memory().copyIn(from + done, count);
                if (value == null) {
                    return host.refuse(FileAnswer.FAULT);
                }
                write(to + done, count, get(value, 0, count));
            }
            done += count;
        }
        return length;
    }

    /** The number of bytes that one access covers: aligned, and in one capability. */
    private int part(int at, int length) {
        int same = 1;
        while ((at + same) % WORD != 0 && map[at + same] == map[at]) {
            same++;
        }
        int max = Math.min(length, same);
        if (max >= WORD && at % WORD == 0) {
            return WORD;
        }
        return max >= Short.BYTES && at % Short.BYTES == 0 ? Short.BYTES : 1;
    }

    private ConfigRules rules(int at) {
        if (map[at] == NONE) {
            return ConfigRules.raw();
        }
        return map[at] == HEADER ? ConfigRules.ofHeader() : ConfigRules.of(map[at], hasMsiMasks());
    }

    private boolean hasMsiMasks() {
        return (virtual.getShort(MSI_AT + FLAGS) & MSI_MASK_BITS) != 0;
    }

    /** The start of the capability that contains a byte. */
    private int start(int at) {
        int from = at;
        while (from > HEADER_END && map[from - 1] == map[at]) {
            from--;
        }
        return map[at] == HEADER ? 0 : map[at] == NONE ? at : from;
    }

    private static ByteBuffer words() {
        return ByteBuffer.allocate(WORD).order(ByteOrder.LITTLE_ENDIAN);
    }

    private static int get(ByteBuffer bytes, int at, int count) {
        int value = 0;
        for (int i = 0; i < count; i++) {
            value |= (bytes.get(at + i) & 0xff) << Byte.SIZE * i;
        }
        return value;
    }

    private static void put(ByteBuffer bytes, int at, int count, int value) {
        for (int i = 0; i < count; i++) {
            bytes.put(at + i, (byte) (value >>> Byte.SIZE * i));
        }
    }

    private int ofHardware(int at, int count) {
        int value = 0;
        for (int i = 0; i < count; i++) {
            value |= hardware.read(at + i) << Byte.SIZE * i;
        }
        return value;
    }

    private void toHardware(int at, int count, int value) {
        for (int i = 0; i < count; i++) {
            hardware.write(at + i, value >>> Byte.SIZE * i);
        }
    }

    private int read(int at, int count) {
        ConfigRules rules = rules(at);
        int offset = at - start(at);
        if (map[at] == HEADER && at >= BAR_0) {
            fixBars();
        }
        int kept =
                switch (rules.access()) {
                    case RAW -> 0;
                    case BITS -> get(rules.virtual(), offset, count);
                    case READ_ONLY, VENDOR -> ofList(offset, count);
                };
        return ofHardware(at, count) & ~kept | get(virtual, at, count) & kept;
    }

    /** The virtual bits of a capability's header, because VFIO may hide the next capability. */
    private static int ofList(int offset, int count) {
        if (offset == 0 && count > 1) {
            return 0xffff;
        }
        return offset == 1 ? 0xff : 0;
    }

    private void write(int at, int count, int value) {
        ConfigRules rules = rules(at);
        int offset = at - start(at);
        if (rules.access() == Access.BITS) {
            int writable = get(rules.writable(), offset, count);
            int kept = get(rules.virtual(), offset, count);
            int inVirtual = writable & kept;
            put(virtual, at, count, get(virtual, at, count) & ~inVirtual | value & inVirtual);
            int inHardware = writable & ~kept;
            toHardware(at, count, ofHardware(at, count) & ~inHardware | value & inHardware);
        } else {
            toHardware(at, count, value);
        }
        wrote(map[at], at, offset, count, value);
    }

    private void wrote(int id, int at, int offset, int count, int value) {
        switch (id) {
            case HEADER -> wroteHeader(at, value);
            case POWER_ID -> {
                if (offset == POWER_CONTROL) {
                    hardware.setPower(value & POWER_STATE);
                }
            }
            case EXPRESS_ID -> {
                boolean resets = (ofHardware(at - offset + DEVICE_CAPABILITIES, WORD) & FUNCTION_RESET) != 0;
                resetIf(at - offset + DEVICE_CONTROL + 1, RESET_BYTE, resets);
            }
            case FEATURES_ID -> {
                boolean resets = (hardware.read(at - offset + FEATURES) & FEATURES_RESET) == FEATURES_RESET;
                resetIf(at - offset + FEATURES_CONTROL, FEATURES_FLR, resets);
            }
            case MSI_ID -> wroteMsi(at - offset, offset, count);
            default -> {}
        }
    }

    private void wroteHeader(int at, int value) {
        if (at == COMMAND) {
            int spaces = PORTS | MEMORY;
            virtual.put(COMMAND, (byte) (virtual.get(COMMAND) & ~spaces | value & spaces));
        }
        boolean disabled = (virtual.getShort(COMMAND) & DIS_INTX) != 0;
        if (disabled != disIntx) {
            disIntx = disabled;
            device.intx().writeDisIntx(disabled);
            device.settle();
        }
        barsWritten |= at >= BAR_0;
    }

    /** Resets the function if the reset bit was written. The bit always reads as 0. */
    private void resetIf(int at, int bit, boolean resets) {
        if ((virtual.get(at) & bit) != 0) {
            virtual.put(at, (byte) (virtual.get(at) & ~bit));
            if (resets) {
                device.reset();
            }
        }
    }

    private void wroteMsi(int start, int offset, int count) {
        if (offset <= FLAGS && offset + count >= FLAGS) {
            int flags = virtual.getShort(start + FLAGS);
            if (device.mode() != InterruptMode.MSI) {
                flags &= ~MSI_ENABLE;
            }
            if ((flags & MSI_COUNT) >> MSI_COUNT_SHIFT > msiMost) {
                flags = flags & ~MSI_COUNT | msiMost << MSI_COUNT_SHIFT;
            }
            virtual.putShort(start + FLAGS, (short) flags);
            toHardware(start + FLAGS, Short.BYTES, flags);
        }
        device.vectors().unmasked();
    }

    /** Clears the bits of virtual BARs below the size, which hardware does not store. */
    private void fixBars() {
        if (!barsWritten) {
            return;
        }
        barsWritten = false;
        Map<Integer, PciBar> bars = device.function().bars();
        for (int number = 0; number < PciFunction.BARS; number++) {
            int at = BAR_0 + number * WORD;
            PciBar bar = bars.get(number);
            virtual.putInt(at, bar == null ? 0 : bar.register(virtual.getInt(at)));
            if (bar != null && bar.kind().isWide()) {
                number++;
            }
        }
    }
}
