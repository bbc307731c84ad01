/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.Objects;

/**
 * A set of small numbers in shared words, guarded by a spinlock. It models one of KVM's lists: a VM's vCPUs or irqfds.
 */
public class SharedSet {
    /** The index of the word that is the spinlock. */
    public static final int LOCK = 0;

    /** The index of the first word of the bitmap, which has one bit for each number. */
    public static final int BITS = 1;

    private final SharedWords words;
    private final int base;
    private final int size;

    /** Creates an empty set of numbers below {@code size}, in the words from {@code base} on. */
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

    /** Returns the index of a word of this set in {@link SharedWords}. */
    public int at(int word) {
        return base + word;
    }

    /** Takes the lock of the set, which a caller of {@link #add}, {@link #remove} or {@link #next} must hold. */
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

    /** The first number in the set from {@code number} on, or -1. The caller must hold the lock. */
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
