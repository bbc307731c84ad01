/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.BitSet;

/** A set of the ids of sources. One source, as in most sets, needs no bits. */
final class Sources {
    static final int NONE = -1;

    private int size;
    /** The source of a set of one. */
    private int only = NONE;
    /** The sources of a larger set; else empty. */
    private final BitSet many = new BitSet(0);

    boolean isEmpty() {
        return size == 0;
    }

    int size() {
        return size;
    }

    /** @return whether the set did not have it */
    boolean add(int id) {
        if (size == 0) {
            only = id;
            size = 1;
            return true;
        }
        if (has(id)) {
            return false;
        }
        if (size == 1) {
            many.set(only);
        }
        many.set(id);
        size++;
        return true;
    }

    boolean has(int id) {
        return size == 1 ? only == id : many.get(id);
    }

    /** @return whether the set had it */
    boolean remove(int id) {
        if (size == 0 || !has(id)) {
            return false;
        }
        many.clear(id);
        size--;
        if (size == 1) {
            only = many.nextSetBit(0);
            many.clear();
        }
        return true;
    }

    /** The first source from an id on; {@link #NONE} if there is none. */
    int next(int from) {
        if (size == 1) {
            return only >= from ? only : NONE;
        }
        return many.nextSetBit(from);
    }

    void clear() {
        if (size > 1) {
            many.clear();
        }
        size = 0;
    }
}
