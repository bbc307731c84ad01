/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.TreeMap;

/**
 * What the program writes into the memory of its guests, seen by comparing when a vCPU begins to run. For one thread at a
 * time.
 */
final class GuestMemory {
    /** Of all guests together; larger ones are not recorded. */
    private static final int MOST = 1 << 20;

    private static final int MOST_AT_ONCE = 256;

    private record Shadow(ByteBuffer live, ByteBuffer seen) {}

    /** Hears of bytes that changed. */
    interface Change {
        void at(String mapping, int offset, ByteBuffer bytes, int length);
    }

    private final Map<String, Shadow> shadows = new TreeMap<>();
    private int size;

    /** A guest was given a mapping that was zero when it was made; @return whether it will be recorded. */
    boolean add(String mapping, ByteBuffer live) {
        if (shadows.containsKey(mapping)) {
            return true;
        }
        if (live.capacity() > MOST - size) {
            return false;
        }
        size += live.capacity();
        shadows.put(mapping, new Shadow(live, ByteBuffer.allocate(live.capacity())));
        return true;
    }

    void remove(String mapping) {
        Shadow removed = shadows.remove(mapping);
        size -= removed == null ? 0 : removed.live.capacity();
    }

    /** Tells what the program wrote since the last time, or since the guest last ran. */
    void changes(Change to) {
        shadows.forEach((mapping, shadow) -> changes(mapping, shadow, to));
    }

    private static void changes(String mapping, Shadow shadow, Change to) {
        int at = 0;
        int size = shadow.live.capacity();
        while (at < size) {
            int length = size - at;
            int same = shadow.live.slice(at, length).mismatch(shadow.seen.slice(at, length));
            if (same < 0) {
                return;
            }
            int start = at + same;
            int end = Math.min(start + MOST_AT_ONCE, size);
            while (end > start + 1 && shadow.live.get(end - 1) == shadow.seen.get(end - 1)) {
                end--;
            }
            shadow.seen.put(start, shadow.live, start, end - start);
            to.at(mapping, start, shadow.seen.slice(start, end - start), end - start);
            at = end;
        }
    }

    /** A guest ran: what is there now, it wrote itself. */
    void ran() {
        shadows.values().forEach(shadow -> shadow.seen.put(0, shadow.live, 0, shadow.live.capacity()));
    }

    /** Bytes of {@code struct kvm_run} that say how a run ended. */
    static final int EXIT_SIZE = Uapi.KvmRun.IO_DATA_OFFSET + Long.BYTES;
}
