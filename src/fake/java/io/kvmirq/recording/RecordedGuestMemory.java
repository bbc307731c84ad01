/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.Buffers;
import java.nio.ByteBuffer;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Finds a program's writes to the memory of its guests: when a vCPU begins to run, it compares the memory with a copy.
 * It reads by system calls, which fail without a crash if a mapping is gone. For one thread at a time.
 */
final class RecordedGuestMemory {
    /** The most bytes of guest memory that are recorded, over all guests. */
    private static final int MOST = 1 << 20;

    private static final int MOST_AT_ONCE = 256;

    private record Shadow(long address, ByteBuffer now, ByteBuffer seen) {}

    interface Change {
        /** @param length 0 if the contents of the mapping are unknown from now on, else the bytes that changed */
        void at(String mapping, int offset, ByteBuffer bytes, int length);
    }

    private final ProcessMemory memory;
    private final Map<String, Shadow> shadows = new TreeMap<>();
    private final Set<String> vcpus = new HashSet<>();
    private int size;
    private boolean unknown;

    RecordedGuestMemory(ProcessMemory memory) {
        this.memory = memory;
    }

    /** Adds a mapping to a guest, with zeros as its content so far; @return whether it will be recorded. */
    boolean add(String mapping) {
        if (shadows.containsKey(mapping)) {
            return true;
        }
        int length = memory.length(mapping);
        if (unknown || length == 0 || length > MOST - size) {
            return false;
        }
        size += length;
        shadows.put(mapping, new Shadow(memory.address(mapping), Buffers.allocate(length), Buffers.allocate(length)));
        return true;
    }

    void remove(String mapping) {
        @Nullable Shadow removed = shadows.remove(mapping);
        size -= removed == null ? 0 : removed.seen.capacity();
    }

    /** A vCPU begins to run. With a second vCPU the writer of a byte is not known, so all memory is marked unknown. */
    void begins(String vcpu) {
        vcpus.add(vcpu);
        unknown |= vcpus.size() > 1;
    }

    /** Reports the program's writes since the last call, or since the guest last ran. */
    void changes(Change to) {
        for (Map.Entry<String, Shadow> entry : List.copyOf(shadows.entrySet())) {
            Shadow shadow = entry.getValue();
            if (!unknown && memory.copyUnknown(shadow.address, shadow.now.capacity(), shadow.now)) {
                changes(entry.getKey(), shadow, to);
            } else {
                to.at(entry.getKey(), 0, shadow.seen, 0);
                remove(entry.getKey());
            }
        }
    }

    void closed(String vcpu) {
        vcpus.remove(vcpu);
    }

    private static void changes(String mapping, Shadow shadow, Change to) {
        int at = 0;
        int size = shadow.now.capacity();
        while (at < size) {
            int length = size - at;
            int same = shadow.now.slice(at, length).mismatch(shadow.seen.slice(at, length));
            if (same < 0) {
                return;
            }
            int start = at + same;
            int end = Math.min(start + MOST_AT_ONCE, size);
            while (end > start + 1 && shadow.now.get(end - 1) == shadow.seen.get(end - 1)) {
                end--;
            }
            shadow.seen.put(start, shadow.now, start, end - start);
            to.at(mapping, start, shadow.seen.slice(start, end - start), end - start);
            at = end;
        }
    }

    /** A guest ran: the present content counts as written by the guest. */
    void ran() {
        // A failed copy is ignored here: it fails again in changes(), which marks the mapping unknown.
        shadows.values().forEach(shadow -> memory.copyUnknown(shadow.address, shadow.seen.capacity(), shadow.seen));
    }
}
