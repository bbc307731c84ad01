/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.Objects;

/**
 * 64-bit words that threads, or a process and a device, share without a lock. Accesses take effect in program order,
 * except that a read may pass an earlier {@link #set}. Each call of {@link #or}, {@link #and}, {@link #swap} or {@link
 * #replace} is one locked read-modify-write, even if the value stays the same. An index out of range throws
 * IndexOutOfBoundsException. No method allocates.
 *
 * <p>Thread-safe. The models of posting and of interrupt lines keep their state in shared words. Tests extend this
 * class to run accesses by CPUs and devices in any order.
 */
public abstract class SharedWords {
    /** The constructor for subclasses, which store the words themselves. */
    protected SharedWords() {}

    /** Creates shared words stored in {@code words} itself, not in a copy. */
    public static SharedWords of(long[] words) {
        Objects.requireNonNull(words, "words is null");
        return new OfArray(words);
    }

    /** The number of words. */
    public abstract int size();

    /** Reads a word. */
    public abstract long get(int word);

    /** Writes a word with a release store. Later reads may pass the write, unless a {@link #fence} is between them. */
    public abstract void set(int word, long value);

    /** Sets the bits of {@code bits} in a word, and returns the old value. */
    public abstract long or(int word, long bits);

    /** Clears the bits of a word that are not in {@code bits}, and returns the old value. */
    public abstract long and(int word, long bits);

    /** Writes a word, and returns the old value. */
    public abstract long swap(int word, long value);

    /** Writes a word if its value is {@code expected}, and returns whether it wrote. */
    public abstract boolean replace(int word, long expected, long value);

    /**
     * Writes a word and the next one. A processor writes both with one locked 128-bit access (cmpxchg16b), but Java has
     * no such access, so another thread may see only the first word changed.
     */
    public void setPair(int word, long low, long high) {
        swap(word, low);
        swap(word + 1, high);
    }

    /** Executes a full barrier, which orders this thread's earlier writes before its later reads. */
    public void fence() {
        VarHandle.fullFence();
    }

    /** Takes a spinlock: waits until the word is 0, then sets it to 1. */
    public void lock(int word) {
        while (!replace(word, 0, 1)) {
            Thread.onSpinWait();
        }
    }

    /** Releases a spinlock by setting the word to 0. */
    public void unlock(int word) {
        set(word, 0);
    }

    private static final class OfArray extends SharedWords {
        private static final VarHandle WORD = MethodHandles.arrayElementVarHandle(long[].class);

        private final long[] words;

        private OfArray(long[] words) {
            this.words = words;
        }

        @Override
        public int size() {
            return words.length;
        }

        @Override
        public long get(int word) {
            return (long) WORD.getVolatile(words, word);
        }

        @Override
        public void set(int word, long value) {
            WORD.setRelease(words, word, value);
        }

        @Override
        public long or(int word, long bits) {
            return (long) WORD.getAndBitwiseOr(words, word, bits);
        }

        @Override
        public long and(int word, long bits) {
            return (long) WORD.getAndBitwiseAnd(words, word, bits);
        }

        @Override
        public long swap(int word, long value) {
            return (long) WORD.getAndSet(words, word, value);
        }

        @Override
        public boolean replace(int word, long expected, long value) {
            return WORD.compareAndSet(words, word, expected, value);
        }
    }
}
