/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.util.function.LongUnaryOperator;

/** Runs an operation up to a place, and notes the access that comes next. */
final class Run implements Cpu {
    /** Leaves the operation's code. */
    private static final class Pause extends RuntimeException {
        private Pause() {
            super(null, null, false, false);
        }
    }

    private final Place place;
    private final long[] results;
    /** Memory at the begin of the search, for the words that are constant. */
    private final long[] start;

    private final Words words;
    private final boolean buffered;
    private int replayed;

    Run(Place place, long[] start, Words words, boolean buffered) {
        this.place = place;
        this.results = place.results();
        this.start = start;
        this.words = words;
        this.buffered = buffered;
    }

    /** Notes the next access of the operation at the place; its end if there is none. */
    void fill(Operation operation) {
        try {
            operation.code().accept(this);
        } catch (Pause e) {
            // The access is noted.
        }
    }

    private boolean isReplaying() {
        return replayed < results.length;
    }

    private long replay() {
        return results[replayed++];
    }

    /** The first access that is new is the next one. Later ones are of blocks that clean up while the code is left. */
    private Pause pause(Place.Next next, int word, long value, long mask, LongUnaryOperator change) {
        if (place.next == Place.Next.END) {
            place.next = next;
            place.word = word;
            place.value = value;
            place.mask = mask;
            place.change = change;
        }
        return new Pause();
    }

    private Pause pause(Place.Next next, int word, long value, long mask) {
        return pause(next, word, value, mask, place.change);
    }

    @Override
    public long load(int word) {
        if (words.constant[word]) {
            return start[word];
        }
        if (isReplaying()) {
            return replay();
        }
        throw pause(Place.Next.LOAD, word, 0, 0);
    }

    @Override
    public void store(int word, long value, long mask) {
        if (isReplaying()) {
            replay();
            return;
        }
        throw pause(Place.Next.STORE, word, value, mask);
    }

    @Override
    public long update(int word, LongUnaryOperator change) {
        if (isReplaying()) {
            return replay();
        }
        throw pause(Place.Next.UPDATE, word, 0, 0, change);
    }

    @Override
    public void storePair(int word, long low, long high) {
        if (isReplaying()) {
            replay();
            return;
        }
        throw pause(Place.Next.PAIR, word, low, high);
    }

    @Override
    public void lock(int word) {
        if (isReplaying()) {
            replay();
            return;
        }
        throw pause(Place.Next.LOCK, word, 0, 0);
    }

    @Override
    public void fence() {
        if (!buffered) {
            return;
        }
        if (isReplaying()) {
            replay();
            return;
        }
        throw pause(Place.Next.FENCE, -1, 0, 0);
    }

    @Override
    public void does(String what) {
        place.name = what;
    }

    @Override
    public int choose(int n) {
        if (isReplaying()) {
            return (int) replay();
        }
        throw pause(Place.Next.CHOICE, -1, n, 0);
    }
}
