/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.NotModelledException;
import io.kvmirq.uapi.Uapi;
import java.lang.ref.WeakReference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/**
 * The address space of the calling process. {@link #addressOf} gives a buffer its address at the first call, {@link
 * #map} gives a mapping its address. All other addresses are unmapped. Writable memory is also readable. Lookups
 * allocate nothing.
 */
public final class UserMemory {
    private static final long FIRST = 0x7000_0000_0000L;
    private static final long PAGE = 4096;

    private static final long PART = 1L << 30;

    private static final int CAPACITY = 16;
    private static final int READ_AND_WRITE = Uapi.PROT_READ | Uapi.PROT_WRITE;

    private long next = FIRST;
    private int count;
    private int lastFound = -1;
    private long[] bases = new long[CAPACITY];
    private @Nullable Region[] regions = new Region[CAPACITY];
    /** A hash table by buffer identity, with linear probing up to a 0. An entry is the region's index plus 1. */
    private int[] places = new int[2 * CAPACITY];

    /** A caller's buffer, referenced weakly, or a mapping, referenced strongly or allocated at its first use. */
    private static final class Region extends WeakReference<@Nullable ByteBuffer> {
        private final int hash;
        private final int bytes;
        /** The access: PROT_READ, PROT_WRITE, both or 0. */
        private final int access;

        private final @Nullable ByteBuffer kept;
        private final @Nullable IntFunction<ByteBuffer> allocator;

        Region(ByteBuffer buffer, int access, boolean keep) {
            super(buffer);
            hash = System.identityHashCode(buffer);
            bytes = buffer.capacity();
            this.access = access;
            this.kept = keep ? buffer : null;
            this.allocator = null;
        }

        /** A mapping of zeros; without an allocator it has no memory. */
        Region(int bytes, int access, @Nullable IntFunction<ByteBuffer> allocator) {
            super(null);
            this.hash = 0;
            this.bytes = bytes;
            this.access = access;
            this.kept = null;
            this.allocator = allocator;
        }

        boolean allows(int asked) {
            return (access & asked) == asked && (isMapping() || get() != null);
        }

        boolean isMapping() {
            return kept != null || allocator != null;
        }
    }

    @SuppressWarnings("ReferenceEquality") // the same memory, not the same bytes
    public long addressOf(ByteBuffer buffer) {
        int mask = places.length - 1;
        for (int i = System.identityHashCode(buffer) & mask; places[i] != 0; i = i + 1 & mask) {
            if (regions[places[i] - 1].get() == buffer) {
                return bases[places[i] - 1];
            }
        }
        return add(new Region(buffer, READ_AND_WRITE, false));
    }

    /** @param protection the bits PROT_READ and PROT_WRITE as in mmap(2) */
    public long map(ByteBuffer memory, int protection) {
        return add(new Region(memory, access(protection), true));
    }

    private static int access(int protection) {
        return (protection & Uapi.PROT_WRITE) != 0 ? READ_AND_WRITE : protection & Uapi.PROT_READ;
    }

    /** Maps whole pages as adjacent buffers, each allocated at first use. {@link #at} returns null across buffers. */
    public long map(long length, int protection, IntFunction<ByteBuffer> allocator) {
        long first = next;
        for (long left = length; left > 0; left -= PART) {
            long base = add(new Region((int) Math.min(left, PART), access(protection), allocator));
            next = left > PART ? base + PART : next;
        }
        return first;
    }

    private long add(Region region) {
        if (count == bases.length) {
            purge();
        }
        long base = next;
        bases[count] = base;
        regions[count] = region;
        count++;
        if (region.allocator == null) {
            index(region, count);
        }
        // At least one unmapped page separates two regions, so that an overrun of one fails with EFAULT.
        next += (region.bytes / PAGE + 2) * PAGE;
        return base;
    }

    /** The memory of a region in native order; null without a region, or if it was collected or lacks the access. */
    private @Nullable ByteBuffer memory(int at, int access) {
        if (at < 0 || (regions[at].access & access) != access) {
            return null;
        }
        Region region = regions[at];
        ByteBuffer buffer = region.get();
        if (buffer == null && region.allocator != null) {
            buffer = region.allocator.apply(region.bytes).order(ByteOrder.nativeOrder());
            regions[at] = new Region(buffer, region.access, true);
            index(regions[at], at + 1);
        }
        return buffer == null || buffer.order() == ByteOrder.nativeOrder()
                ? buffer
                : buffer.duplicate().order(ByteOrder.nativeOrder());
    }

    private void index(Region region, int place) {
        int mask = places.length - 1;
        int i = region.hash & mask;
        while (places[i] != 0) {
            i = i + 1 & mask;
        }
        places[i] = place;
    }

    /** Removes collected buffers. Doubles the capacity if more than half remain. */
    private void purge() {
        int left = 0;
        for (int i = 0; i < count; i++) {
            if (regions[i].isMapping() || regions[i].get() != null) {
                bases[left] = bases[i];
                regions[left] = regions[i];
                left++;
            }
        }
        Arrays.fill(regions, left, count, null);
        count = left;
        lastFound = -1;
        if (left > bases.length / 2) {
            bases = Arrays.copyOf(bases, 2 * bases.length);
            regions = Arrays.copyOf(regions, bases.length);
        }
        places = new int[2 * bases.length];
        for (int i = 0; i < left; i++) {
            if (regions[i].allocator == null) {
                index(regions[i], i + 1);
            }
        }
    }

    /** Unmaps a whole mapping. If no mapping has the address, the method does nothing. */
    public void unmap(long address, long length) {
        replace(address, length, null);
    }

    /** Unmaps like {@link #unmap}. If {@code allocator} is not null, maps zeros at the address. */
    public void replace(long address, long length, @Nullable IntFunction<ByteBuffer> allocator) {
        int at = find(address);
        if (at < 0 || !regions[at].isMapping() || address >= bases[at] + regions[at].bytes) {
            return;
        }
        int bytes = regions[at].bytes;
        if (bases[at] != address || length < bytes) {
            throw new NotModelledException("unmapping or replacing a part of what was mapped");
        }
        regions[at] = new Region(bytes, allocator == null ? 0 : READ_AND_WRITE, allocator);
        if (length > bytes) {
            replace(address + bytes, length - bytes, allocator);
        }
    }

    /** Returns the {@code length} bytes at {@code address}, in native order; null if one is unmapped or unreadable. */
    @Nullable
    public ByteBuffer at(long address, long length) {
        return at(address, length, Uapi.PROT_READ);
    }

    /** Returns the bytes like {@link #at(long,long)}; null if a byte is not writable. */
    @Nullable
    public ByteBuffer writableAt(long address, long length) {
        return at(address, length, Uapi.PROT_WRITE);
    }

    /** @param access the required access, as in mmap(2); 0 for none */
    @Nullable
    public ByteBuffer at(long address, long length, int access) {
        int found = find(address);
        return found < 0 || length < 0 || address - bases[found] > regions[found].bytes - length
                ? null
                : memory(found, access);
    }

    /** Returns the offset of {@code address} in the buffer that {@link #at} returns for it. */
    public int offset(long address) {
        return (int) (address - bases[find(address)]);
    }

    /** The same as {@link #offset}, faster, if {@link #at} has just returned the buffer for this address. */
    int offsetInFound(long address) {
        return (int) (address - bases[lastFound]);
    }

    /** The last region that begins at or before an address; -1 for none. The last result is tried first. */
    private int find(long address) {
        int last = lastFound;
        if (last >= 0 && bases[last] <= address && (last + 1 == count || address < bases[last + 1])) {
            return last;
        }
        int at = Arrays.binarySearch(bases, 0, count, address);
        lastFound = at >= 0 ? at : -at - 2;
        return lastFound;
    }

    /** Whether every byte can be accessed, also if the bytes are in several buffers. */
    public boolean has(long address, long length, int access) {
        long done = 0;
        long part = 1;
        while (done < length && part > 0) {
            part = left(address + done, access);
            done += part;
        }
        return length >= 0 && done >= length;
    }

    /** The bytes from {@code address} to the end of its region; 0 or less if no region has it with this access. */
    private long left(long address, int access) {
        int found = find(address);
        return found >= 0 && regions[found].allows(access) ? bases[found] + regions[found].bytes - address : 0;
    }

    /** Returns a copy of user memory as a structure in native order; null if a byte is unreadable (EFAULT). */
    @Nullable
    public ByteBuffer copyIn(long address, int length) {
        ByteBuffer to = ByteBuffer.allocate(length).order(ByteOrder.nativeOrder());
        int done = 0;
        while (done < length) {
            int found = find(address + done);
            ByteBuffer from = memory(found, Uapi.PROT_READ);
            long offset = from == null ? 0 : address + done - bases[found];
            if (from == null || offset >= from.capacity()) {
                return null;
            }
            int part = (int) Math.min(length - done, from.capacity() - offset);
            to.put(done, from, (int) offset, part);
            done += part;
        }
        return to;
    }

    /** Copies a NUL-terminated string; null if unreadable. Throws NotModelledException if the string is too long. */
    @Nullable
    public String text(long address, int longest) {
        StringBuilder text = new StringBuilder();
        while (text.length() < longest) {
            int found = find(address + text.length());
            ByteBuffer from = memory(found, Uapi.PROT_READ);
            long offset = from == null ? 0 : address + text.length() - bases[found];
            if (from == null || offset >= from.capacity()) {
                return null;
            }
            for (int at = (int) offset; at < from.capacity() && text.length() < longest; at++) {
                byte next = from.get(at);
                if (next == 0) {
                    return text.toString();
                }
                text.append((char) next);
            }
        }
        throw new NotModelledException("a path or name of " + longest + " bytes or more");
    }

    /** Models {@code copy_to_user()}: writes up to the first unwritable byte, and returns false if there is one. */
    public boolean copyOut(long address, ByteBuffer from, int length) {
        int done = 0;
        while (done < length) {
            int found = find(address + done);
            ByteBuffer to = memory(found, Uapi.PROT_WRITE);
            long offset = to == null ? 0 : address + done - bases[found];
            if (to == null || offset >= to.capacity()) {
                return false;
            }
            int part = (int) Math.min(length - done, to.capacity() - offset);
            to.put((int) offset, from, done, part);
            done += part;
        }
        return true;
    }

    /** Models {@code put_user()}: writes all bytes or none. Returns false for EFAULT. */
    public boolean put(long address, ByteBuffer from, int length) {
        return has(address, length, Uapi.PROT_WRITE) && copyOut(address, from, length);
    }
}
