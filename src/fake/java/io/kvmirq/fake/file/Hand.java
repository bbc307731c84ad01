/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import org.jspecify.annotations.Nullable;

/** The messages that are on their way, and the counts of those that were. */
final class Hand {
    private final Sources sources = new Sources();
    /** How often the messages have come somewhere. */
    private int came;
    /** Their last place; null for their source. */
    private @Nullable MessagePlace from;

    private int fromSlot;

    private long sent;
    private long taken;
    private long merged;

    boolean isEmpty() {
        return sources.isEmpty();
    }

    /** The first source from an id on; -1 if there is none. */
    int next(int id) {
        return sources.next(id);
    }

    boolean hasCome() {
        return came > 0;
    }

    String lastPlace() {
        return from == null ? "its source" : from.name(fromSlot);
    }

    void setFrom(@Nullable MessagePlace place, int slot) {
        from = place;
        fromSlot = slot;
    }

    void send(int source) {
        sent++;
        from = null;
        add(source);
    }

    /** A message was not sent after all. */
    void unsend() {
        sent--;
    }

    void add(int source) {
        if (!sources.add(source)) {
            merged++;
        }
    }

    /** The messages come to a place. From the second one on, that is a copy of each. */
    void comes() {
        if (came > 0) {
            sent += sources.size();
        }
        came++;
    }

    void drop() {
        sources.clear();
        came = 0;
    }

    int size() {
        return sources.size();
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
