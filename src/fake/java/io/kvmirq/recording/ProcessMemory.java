/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.uapi.Names;
import io.kvmirq.uapi.Uapi;
import java.lang.ref.Reference;
import java.lang.ref.WeakReference;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * Reads memory at the addresses of call arguments. A wrong address does not crash the JVM: known buffers are read
 * directly, and other memory through {@code /proc/self/mem}, which fails where the kernel would. Thread-safe.
 */
final class ProcessMemory {
    private static final int NONE = -1;
    private static final int FIRST_PURGE = 64;

    /** A buffer whose address was taken, or a mapping. */
    private static final class Region {
        final long base;
        final long length;
        final WeakReference<ByteBuffer> buffer;
        /** Keeps the view of a mapping alive until munmap. */
        final @Nullable ByteBuffer mapped;

        final String name;

        Region(long base, long length, ByteBuffer buffer, String name) {
            this.base = base;
            this.length = length;
            this.buffer = new WeakReference<>(buffer);
            this.mapped = name.isEmpty() ? null : buffer;
            this.name = name;
        }

        boolean overlaps(long address, long size) {
            return base + length > address && address + size > base;
        }
    }

    private final Libc libc;
    private final boolean real;
    /** Sorted by address. Writers replace the array. */
    private volatile Region[] regions = {};

    private int purgeAt = FIRST_PURGE;
    private int memoryFile = NONE;

    ProcessMemory(Libc libc) {
        this.libc = libc;
        this.real = libc.isReal();
    }

    /** Adds a buffer whose address was taken. */
    @SuppressWarnings("ReferenceEquality") // the same memory, not the same bytes
    void known(long address, ByteBuffer buffer) {
        @Nullable Region found = find(address);
        boolean mapping = found != null && !found.name.isEmpty();
        if (!mapping && (found == null || found.buffer.get() != buffer)) {
            add(new Region(address, buffer.capacity(), buffer, ""));
        }
    }

    void mapped(long address, long length, String name) {
        if (length <= Integer.MAX_VALUE) {
            add(new Region(address, length, libc.view(address, length), name));
        }
    }

    private synchronized void add(Region added) {
        Region[] now = regions;
        // An earlier region at this address is freed, though its weak reference is not cleared yet.
        now = without(now, region -> region.overlaps(added.base, added.length));
        if (now.length >= purgeAt) {
            now = without(now, region -> region.mapped == null && region.buffer.get() == null);
            purgeAt = Math.max(FIRST_PURGE, 2 * now.length);
        }
        Region[] next = Arrays.copyOf(now, now.length + 1);
        int at = now.length;
        while (at > 0 && next[at - 1].base > added.base) {
            next[at] = next[at - 1];
            at--;
        }
        next[at] = added;
        regions = next;
    }

    private static Region[] without(Region[] from, Predicate<Region> gone) {
        return Arrays.stream(from).filter(gone.negate()).toArray(Region[]::new);
    }

    /** @return the name of the mapping that contains an address; empty if no mapping is known */
    String mappingAt(long address) {
        @Nullable Region found = find(address);
        return found == null ? "" : found.name;
    }

    /** @return the names of the mappings that this range overlaps; they are removed */
    synchronized List<String> unmapped(long address, long length) {
        List<String> gone = Arrays.stream(regions)
                .filter(region -> region.overlaps(address, length) && !region.name.isEmpty())
                .map(region -> region.name)
                .toList();
        regions = without(regions, region -> gone.contains(region.name));
        return gone;
    }

    private @Nullable Region find(long address) {
        Region[] now = regions;
        int low = 0;
        int high = now.length - 1;
        while (low <= high) {
            int middle = (low + high) >>> 1;
            if (now[middle].base > address) {
                high = middle - 1;
            } else {
                low = middle + 1;
            }
        }
        return high >= 0 && address < now[high].base + now[high].length ? now[high] : null;
    }

    /** The mapping that contains an address, and the offset in it; empty if no mapping is known. */
    String placeOf(long address) {
        @Nullable Region found = find(address);
        return found == null || found.name.isEmpty() ? "" : found.name + "+" + Names.hex(address - found.base);
    }

    /** The start address of a mapping; 0 if it is unmapped. */
    long address(String name) {
        @Nullable Region found = mapping(name);
        return found == null ? 0 : found.base;
    }

    /** The length of a mapping in bytes; 0 if it is unmapped. */
    int length(String name) {
        @Nullable Region found = mapping(name);
        return found == null ? 0 : (int) found.length;
    }

    private @Nullable Region mapping(String name) {
        for (Region region : regions) {
            if (!name.isEmpty() && region.name.equals(name)) {
                return region;
            }
        }
        return null;
    }

    /** @return whether {@code length} bytes could be read; allocates nothing for known memory */
    boolean copy(long address, int length, ByteBuffer to) {
        @Nullable Region found = find(address);
        // A mapping is not read directly: the program may have unmapped it without this class.
        if (found != null && found.name.isEmpty() && address - found.base + length <= found.length) {
            @Nullable ByteBuffer memory = found.buffer.get();
            if (memory != null && memory.capacity() >= address - found.base + length) {
                return copy(memory, (int) (address - found.base), length, to);
            }
        }
        return copyUnknown(address, length, to);
    }

    /** Copies regardless of the buffer's limit, because the call used an address. */
    private static boolean copy(ByteBuffer from, int at, int length, ByteBuffer to) {
        if (from.limit() >= at + length) {
            to.put(0, from, at, length);
        } else {
            to.put(0, from.duplicate().clear(), at, length);
        }
        return true;
    }

    /** Copies by a call that fails if nothing is mapped now, even for known memory. */
    boolean copyUnknown(long address, int length, ByteBuffer to) {
        if (real) {
            try {
                return libc.pread(memoryFile(), libc.addressOf(to), length, address) == length;
            } finally {
                Reference.reachabilityFence(to);
            }
        }
        try {
            to.put(0, libc.view(address, length), 0, length);
            return true;
        } catch (IllegalArgumentException e) {
            // Nothing is mapped there; the recorded call will fail too.
            return false;
        }
    }

    private synchronized int memoryFile() {
        if (memoryFile == NONE) {
            memoryFile = libc.open(Buffers.cString("/proc/self/mem"), Uapi.O_CLOEXEC);
        }
        return memoryFile;
    }

    synchronized void close() {
        if (memoryFile >= 0) {
            libc.close(memoryFile);
            memoryFile = NONE;
        }
    }
}
