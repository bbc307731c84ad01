/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.Objects;

/** A spinlock-guarded set of small numbers in shared words. It models a KVM list, such as a VM's vCPUs or irqfds. */
public class SharedSet {
    /** The index of the spinlock's word. */
    public static final int LOCK = 0;

    /** The index of the bitmap's first word. The bitmap has one bit for each number. */
    public static final int BITS = 1;

    private final SharedWords words;
    private final int base;
    private final int size;

    /** Creates a set of numbers below {@code size} in the words from {@code base}. For an empty set, they must be 0. */
    public SharedSet(SharedWords words, int base, int size) {
        Objects.requireNonNull(words, "words is null");
        this.words = words;
        this.base = base;
        this.size = size;
    }

    /** The number of {@link SharedWords} that a set of numbers below {@code size} occupies. */
    public static int words(int size) {
        return BITS + (size + Long.SIZE - 1) / Long.SIZE;
    }

    /** Converts the index of a word in this set to its index in {@link SharedWords}. */
    public int at(int word) {
        return base + word;
    }

    /** Takes the set's lock, which callers of {@link #add}, {@link #remove} and {@link #next} must hold. */
    public void lock() {
        words.lock(at(LOCK));
    }

    /** Unlocks the set. */
    public void unlock() {
        words.unlock(at(LOCK));
    }

    /** Adds a number. The caller must hold the lock. */
    public void add(int number) {
        words.or(word(number), 1L << number);
    }

    /** Removes a number. The caller must hold the lock. */
    public void remove(int number) {
        words.and(word(number), ~(1L << number));
    }

    /** Whether a number is in the set. */
    public boolean has(int number) {
        return (words.get(word(number)) & 1L << number) != 0;
    }

    /** The lowest number in the set that is not below {@code number}, or -1. The caller must hold the lock. */
    public int next(int number) {
        for (int i = number; i < size; i++) {
            if (has(i)) {
                return i;
            }
        }
        return -1;
    }

    private int word(int number) {
        return at(BITS + number / Long.SIZE);
    }
}
