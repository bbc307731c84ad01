/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.util.function.LongUnaryOperator;

/** The accesses of an operation to the memory that all actors share. Each call is one atomic step. */
public interface Cpu {
    long load(int word);

    /** A plain store of the bits in {@code mask}. */
    void store(int word, long value, long mask);

    /** A locked read-modify-write, and a full barrier. @return the old value */
    long update(int word, LongUnaryOperator change);

    /** One locked write of a word and the next one. */
    void storePair(int word, long low, long high);

    /** Waits until a word is 0 and makes it 1, locked. */
    void lock(int word);

    void fence();

    /** Names what the actor does from here on, for the listing of an order: of use where an operation chooses. */
    void does(String what);

    /** A number from 0 to {@code n} - 1. The explorer tries each. */
    int choose(int n);
}
