/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import org.jspecify.annotations.Nullable;

/** Messages in flight between two places, and the counts of messages so far. */
final class MessagesInFlight extends SourceSet {
    private static final int SOURCE = -1;

    /** The number of places that the messages have reached. */
    private int came;
    /** The last place of the messages, unless the slot is {@link #SOURCE}. */
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

    /** Whether the messages are sent by the program. */
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

    /** Merges the only message into one of its source at the same place. */
    void comesToAnother() {
        came = 1;
        merged++;
    }

    /** Subtracts a message that was not sent. */
    void unsend() {
        sent--;
    }

    /** Adds a message; a second one of the same source is merged. */
    void put(int source) {
        if (!add(source)) {
            merged++;
        }
    }

    /** Notes that the messages reached a place. From the second place on, each is a copy that counts as sent. */
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
