/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The messages of devices that the program has read from eventfds, in the order of the reads. The program sends them on
 * by KVM_SIGNAL_MSI, or signals them again. A source is here once.
 */
final class HeldMessages {
    private final MessagePlace place = new MessagePlace(slot -> true, slot -> "the program, which read its eventfd");
    private int[] ids = {};
    /** By index: the eventfd, the thread and the number of the read. */
    private @Nullable MessageSource[] events = {};

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

    /** A read of an eventfd begins. */
    void beginRead() {
        read++;
    }

    void add(int id, MessageSource event) {
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

    boolean remove(int id) {
        for (int i = 0; i < count; i++) {
            if (ids[i] == id) {
                int behind = count - i - 1;
                System.arraycopy(ids, i + 1, ids, i, behind);
                System.arraycopy(events, i + 1, events, i, behind);
                System.arraycopy(threads, i + 1, threads, i, behind);
                System.arraycopy(reads, i + 1, reads, i, behind);
                count--;
                events[count] = null;
                return true;
            }
        }
        return false;
    }

    /** The id by its place in the order of reads. */
    int id(int index) {
        return ids[index];
    }

    int count() {
        return count;
    }

    @Nullable
    MessageSource event(int index) {
        return events[index];
    }

    long read(int index) {
        return reads[index];
    }

    /** The last read of this thread; of another one if this thread has read nothing that is here. */
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
