/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The messages of devices that the program has read from eventfds, in the order of the reads. The program sends them by
 * KVM_SIGNAL_MSI, or signals them again. A source has at most one message here.
 */
final class HeldMessages {
    private final MessagePlace place = new MessagePlace(slot -> true, slot -> "the program, which read its eventfd");
    private int[] ids = {};
    /** The eventfd, the thread and the number of the read, by index. */
    private @Nullable EventFile[] events = {};

    private long[] threads = {};
    private long[] reads = {};
    private int count;
    private long read;

    MessagePlace place() {
        return place;
    }

    boolean isEmpty() {
        return count == 0;
    }

    void beginRead() {
        read++;
    }

    void add(int id, EventFile event) {
        remove(id);
        if (count == ids.length) {
            int length = Math.max(4, 2 * count);
            ids = Arrays.copyOf(ids, length);
            events = Arrays.copyOf(events, length);
            threads = Arrays.copyOf(threads, length);
            reads = Arrays.copyOf(reads, length);
        }
        ids[count] = id;
        events[count] = event;
        threads[count] = Thread.currentThread().getId();
        reads[count] = read;
        count++;
    }

    boolean has(int id) {
        return index(id) >= 0;
    }

    private int index(int id) {
        int index = count - 1;
        while (index >= 0 && ids[index] != id) {
            index--;
        }
        return index;
    }

    void remove(int id) {
        int index = index(id);
        if (index < 0) {
            return;
        }
        int behind = count - index - 1;
        System.arraycopy(ids, index + 1, ids, index, behind);
        System.arraycopy(events, index + 1, events, index, behind);
        System.arraycopy(threads, index + 1, threads, index, behind);
        System.arraycopy(reads, index + 1, reads, index, behind);
        count--;
        events[count] = null;
    }

    /** The source id at an index in the order of reads. */
    int id(int index) {
        return ids[index];
    }

    int count() {
        return count;
    }

    @Nullable
    EventFile event(int index) {
        return events[index];
    }

    long read(int index) {
        return reads[index];
    }

    /** The number of this thread's last read that is held, or else of another thread's. */
    long lastRead() {
        long thread = Thread.currentThread().getId();
        for (int i = count - 1; i >= 0; i--) {
            if (threads[i] == thread) {
                return reads[i];
            }
        }
        return reads[count - 1];
    }
}
