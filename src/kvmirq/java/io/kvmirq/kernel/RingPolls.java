/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.uapi.IoUring;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The multishot polls of doorbells in a ring, by slot. A cancelled poll ends later than the one that replaced it begins,
 * so they are counted. For the dispatcher.
 */
final class RingPolls {
    /** {@code user_data} of a cancellation's completion. */
    static final long CANCELLATION = -2;

    /** Submissions that {@link #replace} makes at most. */
    static final int SUBMISSIONS = 2;

    /** By slot: the data of its polls. */
    private long[] armed = new long[0];

    /** How many polls of that data have not ended. */
    private int[] polls = new int[0];

    void makeRoom(int slots) {
        if (armed.length < slots) {
            armed = Arrays.copyOf(armed, slots);
            polls = Arrays.copyOf(polls, slots);
        }
    }

    /** The ring is another one, and has no polls. */
    void clear() {
        Arrays.fill(polls, 0);
    }

    /**
     * Ends the poll of a slot, and begins another.
     *
     * @param file to be polled; null for none
     */
    void replace(Uring ring, int slot, @Nullable Fd file, long data) {
        if (polls[slot] != 0) {
            ring.cancel(armed[slot], CANCELLATION);
        }
        if (file != null) {
            polls[slot] = armed[slot] == data ? polls[slot] + 1 : 1;
            armed[slot] = data;
            ring.poll(file.number(), data, IoUring.IORING_POLL_ADD_MULTI);
        }
    }

    /** @return whether a poll ended that no other has replaced */
    boolean ended(long data) {
        int slot = (int) data;
        return armed[slot] == data && --polls[slot] == 0;
    }
}
