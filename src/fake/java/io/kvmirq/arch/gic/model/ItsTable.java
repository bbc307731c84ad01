/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.BitField;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.OptionalLong;

/** A table in guest memory, described by a GITS_BASER. Source: {@code vgic_its_check_id()} in vgic-its.c. */
final class ItsTable {
    /** The size of a table entry in bytes. */
    static final int ENTRY = 8;

    /** The bits of a device id, event id and collection id in KVM. */
    static final int ID_BITS = 16;

    /** The size of a page of a table in bytes, and of a table of the second level. */
    static final int PAGE = 0x1_0000;

    static final long TYPE_DEVICE = 1;
    static final long TYPE_COLLECTION = 4;

    /** GITS_BASER.Indirect: the table has two levels. */
    static final long INDIRECT = 1L << 62;

    /** The address of a second level in an entry of the first. */
    static final long LEVEL_2 = 0xf_ffff_ffff_0000L;

    private static final int PAGE_SHIFT = 12;

    /** Fields that KVM writes and the guest does not: the size of an entry and the type of the table. */
    private static final long READ_ONLY = 0x71f_0000_0000_0000L;

    private static final BitField PAGES = new BitField("size", 0, 8);
    private static final BitField PAGE_SIZE = new BitField("page_size", 8, 2);
    private static final BitField ENTRY_SIZE = new BitField("entry_size", 48, 5);
    private static final BitField TYPE = new BitField("type", 56, 3);
    private static final long PAGES_OF_64K = 2;

    private ItsTable() {}

    /** The initial value: inner shareable, not valid. */
    static long initial(long type) {
        return sanitised(1 << 10, type);
    }

    /** The value that KVM stores for a write to GITS_BASER. */
    static long sanitised(long value, long type) {
        long kept = value & ~READ_ONLY & ~(type == TYPE_COLLECTION ? INDIRECT : 0);
        long typed = TYPE.put(ENTRY_SIZE.put(kept, ENTRY - 1L), type);
        return PAGE_SIZE.put(Baser.sanitised(typed, Baser.Attributes.OF_ITS), PAGES_OF_64K);
    }

    /** The address of the entry of an id; empty if the table is too small, or the entry is not in memory. */
    static OptionalLong entry(long table, int id, GuestRam ram) {
        if (id >>> ID_BITS != 0) {
            return OptionalLong.empty();
        }
        if ((table & INDIRECT) == 0) {
            return id < size(table) / ENTRY ? visible(address(table) + (long) id * ENTRY, ram) : OptionalLong.empty();
        }
        int entries = PAGE / ENTRY;
        ByteBuffer pointer = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        long first = address(table) + (long) (id / entries) * Long.BYTES;
        // One page of the first level covers all ids.
        if (!ram.read(first, pointer)) {
            return OptionalLong.empty();
        }
        long second = pointer.getLong(0);
        return (second & EmulatedIts.VALID) == 0
                ? OptionalLong.empty()
                : visible((second & LEVEL_2) + (long) (id % entries) * ENTRY, ram);
    }

    private static OptionalLong visible(long address, GuestRam ram) {
        return ram.isVisible(address) ? OptionalLong.of(address) : OptionalLong.empty();
    }

    static int size(long table) {
        return (int) (PAGES.of(table) + 1) * PAGE;
    }

    /** Bits 51:16 of the address of a table: bits 51:48 are in bits 15:12 of the register. */
    static long address(long table) {
        return table & 0xffff_ffff_0000L | (table >>> PAGE_SHIFT & 0xf) << 48;
    }
}
