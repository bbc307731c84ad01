/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.util.function.LongUnaryOperator;

/** What an operation does to the memory all actors share; each call is one atomic step. */
public interface Cpu {
    long load(int word);

    /** A plain store of the bits in {@code mask}. */
    void store(int word, long value, long mask);

    /** A locked read-modify-write, and a full barrier. @return the old value */
    long update(int word, LongUnaryOperator change);

    /** Waits until a word is 0 and makes it 1, locked. */
    void lock(int word);

    void fence();

    /** Any of 0 to {@code n} - 1; the explorer tries all. */
    int choose(int n);
}
