/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.NotModelledException;
import java.lang.ref.WeakReference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The address space of the calling process. A buffer gets an address at the first {@link #addressOf}, mapped memory at
 * {@link #map}. All other addresses are unmapped. Lookups allocate nothing.
 */
public final class UserMemory {
    private static final long FIRST = 0x7000_0000_0000L;
    private static final long PAGE = 4096;

    private long next = FIRST;
    private int count;
    private long[] bases = new long[16];
    private @Nullable Region[] regions = new Region[16];

    /** A caller's buffer, referenced weakly, or a mapping, referenced strongly. */
    private static final class Region {
        private final WeakReference<ByteBuffer> buffer;
        private final @Nullable ByteBuffer kept;

        Region(ByteBuffer buffer, boolean keep) {
            this.buffer = new WeakReference<>(buffer);
            this.kept = keep ? buffer : null;
        }
    }

    @SuppressWarnings("ReferenceEquality") // the same memory, not the same bytes
    public long addressOf(ByteBuffer buffer) {
        for (int i = 0; i < count; i++) {
            if (regions[i].buffer.get() == buffer) {
                return bases[i];
            }
        }
        return add(buffer, false);
    }

    public long map(ByteBuffer memory) {
        return add(memory, true);
    }

    private long add(ByteBuffer buffer, boolean keep) {
        purge();
        if (count == bases.length) {
            bases = Arrays.copyOf(bases, 2 * count);
            regions = Arrays.copyOf(regions, 2 * count);
        }
        long base = next;
        bases[count] = base;
        regions[count] = new Region(buffer, keep);
        count++;
        // At least one unmapped page separates two regions, so that an overrun of one fails with EFAULT.
        next += (buffer.capacity() / PAGE + 2) * PAGE;
        return base;
    }

    private void purge() {
        int to = 0;
        for (int i = 0; i < count; i++) {
            if (regions[i].buffer.get() != null) {
                bases[to] = bases[i];
                regions[to] = regions[i];
                to++;
            }
        }
        Arrays.fill(regions, to, count, null);
        count = to;
    }

    /** Unmaps a whole mapping. Does nothing if the address is not in a mapping. */
    public void unmap(long address, long length) {
        int at = find(address);
        ByteBuffer mapped = at < 0 ? null : regions[at].kept;
        if (mapped == null || address >= bases[at] + mapped.capacity()) {
            return;
        }
        if (bases[at] != address || mapped.capacity() != length) {
            throw new NotModelledException("unmapping a part of what was mapped");
        }
        System.arraycopy(bases, at + 1, bases, at, count - at - 1);
        System.arraycopy(regions, at + 1, regions, at, count - at - 1);
        count--;
        regions[count] = null;
    }

    /** The memory that holds all {@code length} bytes at {@code address}, in native order; null if there is none. */
    @Nullable
    public ByteBuffer at(long address, long length) {
        int found = find(address);
        if (found < 0) {
            return null;
        }
        ByteBuffer buffer = regions[found].buffer.get();
        if (buffer == null || address - bases[found] + length > buffer.capacity()) {
            return null;
        }
        return buffer.order() == ByteOrder.nativeOrder()
                ? buffer
                : buffer.duplicate().order(ByteOrder.nativeOrder());
    }

    /** The offset of {@code address} in the buffer that {@link #at} returns for it. */
    public int offset(long address) {
        return (int) (address - bases[find(address)]);
    }

    private int find(long address) {
        int found = Arrays.binarySearch(bases, 0, count, address);
        return found >= 0 ? found : -found - 2;
    }

    /** A copy of user memory as a structure in native order; null for EFAULT. */
    @Nullable
    public ByteBuffer copyIn(long address, int length) {
        ByteBuffer from = at(address, length);
        if (from == null) {
            return null;
        }
        return ByteBuffer.allocate(length).order(ByteOrder.nativeOrder()).put(0, from, offset(address), length);
    }

    /**
     * A copy of a text that ends in NUL; null for EFAULT.
     *
     * @throws NotModelledException if it has {@code longest} bytes or more
     */
    @Nullable
    public String text(long address, int longest) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < longest; i++) {
            ByteBuffer at = at(address + i, 1);
            if (at == null) {
                return null;
            }
            byte next = at.get(offset(address + i));
            if (next == 0) {
                return text.toString();
            }
            text.append((char) next);
        }
        throw new NotModelledException("a path or name of " + longest + " bytes or more");
    }

    /** @return false if the address is not mapped */
    public boolean copyOut(long address, ByteBuffer from, int length) {
        ByteBuffer to = at(address, length);
        if (to == null) {
            return false;
        }
        to.put(offset(address), from, 0, length);
        return true;
    }
}
