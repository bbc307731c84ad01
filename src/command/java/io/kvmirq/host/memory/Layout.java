/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.host.trace.Btf;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** The members of a structure that a walk reads, where this kernel has them. Immutable. */
final class Layout {
    /** Members that lie as near as this, in bytes, are read at once. */
    private static final int NEAR_BYTES = 320;
    /** A longer member, such as an array, is only located. */
    private static final int WIDEST_BITS = 128;

    /** A member: what BTF says of it, and where its bytes begin in a snapshot; -1 if it is only located. */
    private record Slot(Btf.Member member, int at) {}

    /** Bytes that are read at once. */
    private record Range(long offset, int length) {}

    private final String type;
    private final Map<String, Slot> slots = new LinkedHashMap<>();
    private final List<Range> ranges = new ArrayList<>();
    private final int length;

    /** @param members by name; absent ones are those that this kernel lacks */
    Layout(String type, Map<String, Btf.Member> members) {
        this.type = type;
        List<Map.Entry<String, Btf.Member>> sorted = members.entrySet().stream()
                .sorted(Comparator.comparing(entry -> entry.getValue().bit()))
                .toList();
        int total = 0;
        long begin = 0;
        long end = -1;
        for (Map.Entry<String, Btf.Member> entry : sorted) {
            Btf.Member member = entry.getValue();
            if (member.bits() == 0 || member.bits() > WIDEST_BITS) {
                slots.put(entry.getKey(), new Slot(member, -1));
                continue;
            }
            // A bit-field may begin within a byte and end within another one.
            long last = (member.bit() + member.bits() + Byte.SIZE - 1) / Byte.SIZE;
            if (end < 0 || member.offset() - end > NEAR_BYTES || last - begin > NEAR_BYTES) {
                total += close(begin, end);
                begin = member.offset();
                end = last;
            }
            end = Math.max(end, last);
            slots.put(entry.getKey(), new Slot(member, total + (int) (member.offset() - begin)));
        }
        length = total + close(begin, end);
    }

    private int close(long begin, long end) {
        if (end < 0) {
            return 0;
        }
        ranges.add(new Range(begin, (int) (end - begin)));
        return (int) (end - begin);
    }

    boolean has(String member) {
        return slots.containsKey(member);
    }

    /** Where a member begins, in bytes from 0. */
    long offset(String member) {
        return Objects.requireNonNull(slots.get(member), member).member.offset();
    }

    /** The members in memory; each part is read twice. */
    Snapshot at(KernelMemory memory, long address) {
        KernelMemory.checked(address, "the address of a " + type);
        byte[] bytes = new byte[length];
        int at = 0;
        for (Range range : ranges) {
            byte[] part = memory.read(address + range.offset, range.length, type);
            System.arraycopy(part, 0, bytes, at, part.length);
            at += part.length;
        }
        return new Snapshot(address, ByteBuffer.wrap(bytes).order(ByteOrder.nativeOrder()));
    }

    /** A structure at an address, as it was. */
    final class Snapshot {
        private final long address;
        private final ByteBuffer bytes;

        private Snapshot(long address, ByteBuffer bytes) {
            this.address = address;
            this.bytes = bytes;
        }

        long address() {
            return address;
        }

        boolean has(String member) {
            return Layout.this.has(member);
        }

        /** The value of a member of 64 bits or less, unsigned. */
        long number(String member) {
            Btf.Member of = slot(member).member;
            int at = slot(member).at;
            long low = of.bit() % Byte.SIZE;
            long value = 0;
            for (int i = (int) ((low + of.bits() - 1) / Byte.SIZE); i >= 0; i--) {
                value = value << Byte.SIZE | bytes.get(at + i) & 0xff;
            }
            long wanted = of.bits() >= Long.SIZE ? -1 : (1L << of.bits()) - 1;
            return value >>> low & wanted;
        }

        /** A word of a member of 128 bits: 0 or 1. */
        long word(String member, int word) {
            return bytes.getLong(slot(member).at + word * Long.BYTES);
        }

        /** A member that points to a structure. */
        long pointer(String member) {
            return KernelMemory.checked(number(member), type + "." + member);
        }

        private Slot slot(String member) {
            return Objects.requireNonNull(slots.get(member), member);
        }
    }
}
