/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.irqchip;

import io.kvmirq.MsiMessage;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.apic.IoapicEntry;
import java.nio.ByteBuffer;
import java.util.Arrays;

/** The registers of an IOAPIC. Not thread-safe. */
final class IoapicRegisters {
    static final int SELECT = 0x00;
    static final int WINDOW = 0x10;

    private static final int ID = 0;
    private static final int VERSION = 1;
    private static final int ARBITRATION = 2;
    private static final int ENTRIES = 0x10;
    private static final int VERSION_NUMBER = 0x20;
    private static final int ID_BITS = 0x0f00_0000;
    private static final int BYTE = 0xff;
    private static final long LOW = 0xffff_ffffL;
    private static final long READ_ONLY = IoapicEntry.REMOTE_IRR.mask() | IoapicEntry.SEND_PENDING.mask();

    private static final int DESTINATION_SHIFT = 12;
    private static final int LOGICAL = 1 << 2;
    private static final int MODE_SHIFT = 8;
    /** The bits of a message's data for a level-triggered, asserted interrupt. */
    private static final int LEVEL_DATA = 1 << 15 | 1 << 14;

    private final long[] entries;
    private int selected;
    private int id;

    IoapicRegisters(int pins) {
        entries = new long[pins];
        reset();
    }

    int pins() {
        return entries.length;
    }

    long entry(int pin) {
        return entries[pin];
    }

    boolean is(BitField flag, int pin) {
        return flag.isSet(entries[pin]);
    }

    boolean isLevelOf(int pin, int vector) {
        return is(IoapicEntry.LEVEL, pin) && IoapicEntry.VECTOR.of(entries[pin]) == vector;
    }

    void awaitEoi(int pin) {
        entries[pin] |= IoapicEntry.REMOTE_IRR.mask();
    }

    void endEoi(int pin) {
        entries[pin] &= ~IoapicEntry.REMOTE_IRR.mask();
    }

    // The guest's accesses

    int read(long at) {
        return at == SELECT ? selected : at == WINDOW ? selectedRegister() : 0;
    }

    private int selectedRegister() {
        return switch (selected) {
            case ID, ARBITRATION -> id;
            case VERSION -> pins() - 1 << Short.SIZE | VERSION_NUMBER;
            default -> {
                int pin = selectedPin();
                long entry = pin < 0 ? -1 : entries[pin];
                yield (int) ((selected & 1) == 0 ? entry : entry >>> Integer.SIZE);
            }
        };
    }

    void select(int register) {
        selected = register & BYTE;
    }

    /** The pin whose entry is selected, negative if none is. */
    int selectedPin() {
        int pin = selected - ENTRIES >> 1;
        return selected < ENTRIES || pin >= pins() ? -1 : pin;
    }

    void write(int value) {
        if (selected == ID) {
            id = value & ID_BITS;
        }
        int pin = selectedPin();
        if (pin < 0) {
            return;
        }
        long before = entries[pin];
        long now = (selected & 1) == 0 ? before & ~LOW | value & LOW : before & LOW | (long) value << Integer.SIZE;
        entries[pin] = possible(now & ~READ_ONLY | before & READ_ONLY);
    }

    /**
     * Clears Remote IRR of an edge-triggered entry. Linux ends an interrupt this way if the IOAPIC has no EOI register.
     */
    private static long possible(long entry) {
        return IoapicEntry.LEVEL.isSet(entry) ? entry : entry & ~IoapicEntry.REMOTE_IRR.mask();
    }

    /** The message of a pin's redirection entry. */
    MsiMessage message(int pin) {
        long entry = entries[pin];
        boolean level = IoapicEntry.LEVEL.isSet(entry);
        long address = MsiMessage.X86_WINDOW
                | IoapicEntry.DESTINATION.of(entry) << DESTINATION_SHIFT
                | (IoapicEntry.LOGICAL.isSet(entry) ? LOGICAL : 0);
        int data = (int) (IoapicEntry.VECTOR.of(entry) | IoapicEntry.MODE.of(entry) << MODE_SHIFT);
        return new MsiMessage(address, level ? data | LEVEL_DATA : data);
    }

    void reset() {
        selected = 0;
        id = 0;
        Arrays.fill(entries, IoapicEntry.MASKED.mask());
    }

    // Save and restore

    int stateBytes() {
        return 2 * Integer.BYTES + pins() * Long.BYTES;
    }

    void save(ByteBuffer to) {
        to.putInt(selected).putInt(id);
        for (long entry : entries) {
            to.putLong(entry);
        }
    }

    void restore(ByteBuffer from) {
        select(from.getInt());
        id = from.getInt() & ID_BITS;
        for (int pin = 0; pin < pins(); pin++) {
            entries[pin] = possible(from.getLong() & ~IoapicEntry.SEND_PENDING.mask());
        }
    }
}
