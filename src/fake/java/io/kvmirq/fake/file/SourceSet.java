/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.BitSet;

/** A set of source ids. A single id, the usual case, is stored without the BitSet. */
class SourceSet {
    static final int NONE = -1;

    int size;
    /** The id if the set has one element; otherwise {@link #NONE}. */
    private int only = NONE;
    /** The ids if the set has several elements; otherwise empty. */
    private final BitSet many = new BitSet(0);

    final boolean isEmpty() {
        return size == 0;
    }

    final int size() {
        return size;
    }

    /** The id if the set has one element; otherwise {@link #NONE}. */
    final int only() {
        return only;
    }

    /** @return whether the set did not have it */
    final boolean add(int id) {
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
            only = NONE;
        }
        many.set(id);
        size++;
        return true;
    }

    final boolean has(int id) {
        return size == 1 ? only == id : many.get(id);
    }

    /** @return whether the set had it */
    final boolean remove(int id) {
        if (size == 0 || !has(id)) {
            return false;
        }
        many.clear(id);
        size--;
        only = NONE;
        if (size == 1) {
            only = many.nextSetBit(0);
            many.clear();
        }
        return true;
    }

    /** The smallest id that is at least {@code from}; {@link #NONE} if there is none. */
    final int next(int from) {
        if (size == 1) {
            return only >= from ? only : NONE;
        }
        return many.nextSetBit(from);
    }

    final void clear() {
        if (size > 1) {
            many.clear();
        }
        size = 0;
        only = NONE;
    }
}
