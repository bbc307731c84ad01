/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.util.Arrays;

/** Memory, and where each actor is: its place in its operations, and its store buffer. */
final class State {
    private static final long[] NONE = {};
    /** The slots of an actor in the hash: its place, then the stores on their way. */
    private static final int SLOTS = 1 << 12;

    final long[] memory;
    final Place[] places;
    /** Word, mask and value of each store on its way. */
    private final long[][] buffers;

    // The sums of the hashes of all slots: a step changes few of them.
    private long low;
    private long high;

    /** @param places where the actors begin */
    State(long[] memory, Place[] places) {
        this.memory = memory.clone();
        this.places = places.clone();
        buffers = new long[places.length][];
        Arrays.fill(buffers, NONE);
        for (int word = 0; word < memory.length; word++) {
            count(word, memory[word], 1);
        }
        for (int actor = 0; actor < places.length; actor++) {
            count(slot(actor), places[actor].id, 1);
        }
    }

    private State(State from) {
        memory = from.memory.clone();
        places = from.places.clone();
        buffers = from.buffers.clone();
        low = from.low;
        high = from.high;
    }

    State copy() {
        return new State(this);
    }

    boolean isQuiet() {
        for (int actor = 0; actor < places.length; actor++) {
            if (!places[actor].isFirst() || !isDrained(actor)) {
                return false;
            }
        }
        return true;
    }

    boolean isDrained(int actor) {
        return buffers[actor].length == 0;
    }

    /** The word of an actor's oldest buffered store. */
    int oldest(int actor) {
        return (int) buffers[actor][0];
    }

    void move(int actor, Place place) {
        count(slot(actor), places[actor].id, -1);
        count(slot(actor), place.id, 1);
        places[actor] = place;
    }

    long load(int actor, int word) {
        long value = memory[word];
        long[] buffer = buffers[actor];
        for (int i = 0; i < buffer.length; i += 3) {
            if (buffer[i] == word) {
                value = value & ~buffer[i + 1] | buffer[i + 2] & buffer[i + 1];
            }
        }
        return value;
    }

    /** Memory as an actor sees it. */
    long[] view(int actor) {
        if (isDrained(actor)) {
            return memory;
        }
        long[] view = memory.clone();
        for (int i = 0; i < buffers[actor].length; i += 3) {
            int word = (int) buffers[actor][i];
            view[word] = load(actor, word);
        }
        return view;
    }

    void set(int word, long value) {
        if (value != memory[word]) {
            count(word, memory[word], -1);
            count(word, value, 1);
            memory[word] = value;
        }
    }

    void store(int word, long mask, long value) {
        set(word, memory[word] & ~mask | value & mask);
    }

    void buffer(int actor, int word, long mask, long value) {
        long[] buffer = buffers[actor];
        long[] longer = Arrays.copyOf(buffer, buffer.length + 3);
        longer[buffer.length] = word;
        longer[buffer.length + 1] = mask;
        longer[buffer.length + 2] = value;
        setBuffer(actor, longer);
    }

    /** The oldest buffered store reaches memory. */
    void drain(int actor) {
        long[] buffer = buffers[actor];
        store((int) buffer[0], buffer[1], buffer[2]);
        setBuffer(actor, Arrays.copyOfRange(buffer, 3, buffer.length));
    }

    private void setBuffer(int actor, long[] buffer) {
        for (int i = 0; i < buffers[actor].length; i++) {
            count(slot(actor) + 1 + i, buffers[actor][i], -1);
        }
        for (int i = 0; i < buffer.length; i++) {
            count(slot(actor) + 1 + i, buffer[i], 1);
        }
        buffers[actor] = buffer;
    }

    private int slot(int actor) {
        return memory.length + actor * SLOTS;
    }

    /** A state to look up: 128 bits of hash. Two states of one search with the same hash are not to be expected. */
    record Key(long low, long high) {}

    Key key() {
        return new Key(low, high);
    }

    long low() {
        return low;
    }

    long high() {
        return high;
    }

    private void count(int slot, long value, int sign) {
        low += sign * mixed(value + slot * 0x9e3779b97f4a7c15L, 0xbf58476d1ce4e5b9L, 0x94d049bb133111ebL);
        high += sign * mixed(value + slot * 0xd1342543de82ef95L, 0xff51afd7ed558ccdL, 0xc4ceb9fe1a85ec53L);
    }

    /** The finalizer of SplitMix64 or of MurmurHash3, by its factors. */
    private static long mixed(long value, long first, long second) {
        long mixed = (value ^ value >>> 31) * first;
        mixed = (mixed ^ mixed >>> 29) * second;
        return mixed ^ mixed >>> 32;
    }
}
