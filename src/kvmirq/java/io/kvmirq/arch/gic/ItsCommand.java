/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import io.kvmirq.arch.BitField;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Optional;

/**
 * The ITS commands that KVM implements, each four 64-bit words. Source: GIC architecture specification, "ITS commands";
 * {@code GITS_CMD_*} in include/linux/irqchip/arm-gic-v3.h.
 */
public enum ItsCommand {
    /** Moves an event to another collection. */
    MOVI(0x01),
    /** Makes an event's LPI pending. */
    INT(0x03),
    /** Makes an event's LPI not pending. */
    CLEAR(0x04),
    /** Waits until earlier commands have taken effect. */
    SYNC(0x05),
    /** Maps a device to a table of events. */
    MAPD(0x08),
    /** Maps a collection to a vCPU. */
    MAPC(0x09),
    /** Maps an event to an LPI of a collection. */
    MAPTI(0x0a),
    /** Maps an event to the LPI with the same number. */
    MAPI(0x0b),
    /** Makes the ITS reload the priority and the enable bit of an event's LPI. */
    INV(0x0c),
    /** Makes the ITS reload the priorities and enable bits of all LPIs on a collection's vCPU. */
    INVALL(0x0d),
    /** Moves all LPIs of one vCPU to another vCPU. */
    MOVALL(0x0e),
    /** Unmaps an event. */
    DISCARD(0x0f);

    /** The command size in bytes. */
    public static final int SIZE = 32;

    /** The command number. */
    public static final BitField NUMBER = new BitField("command", 0, 8);

    /** The device id. */
    public static final BitField DEVICE = new BitField("device_id", 32, 32);

    /** MAPD: the width of the device's event ids, minus 1. */
    public static final BitField EVENT_BITS = new BitField("size", 64, 5);

    /** The event id. */
    public static final BitField EVENT = new BitField("event_id", 64, 32);

    /** MAPTI: the INTID of the LPI. */
    public static final BitField LPI = new BitField("intid", 96, 32);

    /** The collection id. */
    public static final BitField COLLECTION = new BitField("icid", 128, 16);

    /** MAPD: bits 51:8 of the device's event table address; the other bits are 0. */
    public static final BitField EVENT_TABLE = new BitField("itt_addr", 136, 44);

    /** MAPC, MOVALL: the vCPU's id, or its index before Linux 6.7. */
    public static final BitField TARGET = new BitField("rdbase", 144, 32);

    /** MAPD, MAPC: 1 maps, 0 unmaps. */
    public static final BitField VALID = new BitField("valid", 191, 1);

    /** MOVALL: the vCPU that gets the LPIs. */
    public static final BitField SECOND_TARGET = new BitField("rdbase2", 208, 32);

    private final int number;

    ItsCommand(int number) {
        this.number = number;
    }

    /** The command number, bits 7:0 of the first word. */
    public int number() {
        return number;
    }

    /** The little-endian bytes of a command, as the guest writes them into the command queue. */
    public static byte[] bytes(long... words) {
        ByteBuffer bytes = ByteBuffer.allocate(words.length * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asLongBuffer().put(words);
        return bytes.array();
    }

    // The words of a command

    /**
     * MAPD: maps a device whose event ids have {@code eventBits} bits. When KVM saves the ITS, it stores the device's
     * event mappings at the guest address {@code table}. The device id is unsigned.
     */
    public static long[] mapDevice(int device, int eventBits, long table) {
        return MAPD.with(DEVICE, device)
                .and(EVENT_BITS, eventBits - 1)
                .put(EVENT_TABLE, table >>> Byte.SIZE)
                .and(VALID, 1)
                .words;
    }

    /** MAPC: maps a collection to a vCPU, given by its id, or by its index before Linux 6.7. */
    public static long[] mapCollection(int collection, int vcpu) {
        return MAPC.with(COLLECTION, collection).put(TARGET, vcpu).and(VALID, 1).words;
    }

    /** MAPTI: maps a device event to an LPI in a collection. The ids of device and event are unsigned. */
    public static long[] mapEvent(int device, int event, int lpi, int collection) {
        return MAPTI.with(DEVICE, device).and(EVENT, event).and(LPI, lpi).and(COLLECTION, collection).words;
    }

    /** Encodes this command, which must be INT, CLEAR, INV or DISCARD, for one device event. Both ids are unsigned. */
    public long[] ofEvent(int device, int event) {
        return with(DEVICE, device).and(EVENT, event).words;
    }

    private Words with(BitField field, int value) {
        return new Words().and(NUMBER, number).and(field, value);
    }

    private static final class Words {
        private final long[] words = new long[SIZE / Long.BYTES];

        private Words and(BitField field, int value) {
            return put(field, Integer.toUnsignedLong(value));
        }

        private Words put(BitField field, long value) {
            words[field.word()] = field.put(words[field.word()], value);
            return this;
        }
    }

    /** The command that these four words ({@value #SIZE} bytes) encode. Empty if KVM does not implement it. */
    public static Optional<ItsCommand> decode(long[] words) {
        int number = (int) NUMBER.of(words[NUMBER.word()]);
        return Arrays.stream(values())
                .filter(command -> command.number == number)
                .findFirst();
    }
}
