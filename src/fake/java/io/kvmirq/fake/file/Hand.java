/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import org.jspecify.annotations.Nullable;

/** The messages that are on their way, and the counts of those that were. */
final class Hand extends Sources {
    private static final int SOURCE = -1;

    /** Places to which the messages have come. */
    private int came;
    /** Their last place, unless the slot is {@link #SOURCE}. */
    private @Nullable MessagePlace from;

    private int fromSlot = SOURCE;
    private boolean sends;

    private long sent;
    private long taken;
    private long merged;

    /** Whether messages are on their way, or the program is about to send some. */
    boolean isBusy() {
        return sends || size != 0;
    }

    /** Whether the messages are those that the program sends, or has sent. */
    boolean sends() {
        return sends;
    }

    void setSends(boolean on) {
        sends = on;
    }

    boolean hasCome() {
        return came > 0;
    }

    String lastPlace() {
        return from == null || fromSlot == SOURCE ? "its source" : from.name(fromSlot);
    }

    void setFrom(MessagePlace place, int slot) {
        from = place;
        fromSlot = slot;
    }

    void setFromSource() {
        fromSlot = SOURCE;
    }

    void send(int source) {
        sent++;
        fromSlot = SOURCE;
        put(source);
    }

    /** The only message comes to a place where its source has another one. */
    void comesToAnother() {
        came = 1;
        merged++;
    }

    /** A message was not sent after all. */
    void unsend() {
        sent--;
    }

    /** Two messages of one source are one. */
    void put(int source) {
        if (!add(source)) {
            merged++;
        }
    }

    /** The messages come to a place. From the second one on, that is a copy of each. */
    void comes() {
        if (came > 0) {
            sent += size();
        }
        came++;
    }

    void drop() {
        clear();
        came = 0;
    }

    void countTaken(int messages) {
        taken += messages;
    }

    void countMerged(int messages) {
        merged += messages;
    }

    long sent() {
        return sent;
    }

    long taken() {
        return taken;
    }

    long merged() {
        return merged;
    }
}
