/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

/** The states that a search has seen, in two words each: a search has millions. */
final class Seen {
    /** Pairs of the halves of a key. A pair of zeros is free. */
    private long[] pairs = new long[1 << 12];

    private int size;

    int size() {
        return size;
    }

    /** @return whether the state is new */
    boolean add(State state) {
        if (!put(state.low(), state.high())) {
            return false;
        }
        size++;
        if (4 * size > pairs.length) {
            long[] old = pairs;
            pairs = new long[2 * old.length];
            for (int i = 0; i < old.length; i += 2) {
                if (old[i] != 0 || old[i + 1] != 0) {
                    put(old[i], old[i + 1]);
                }
            }
        }
        return true;
    }

    private boolean put(long low, long high) {
        int at = (int) low & pairs.length - 2;
        while (pairs[at] != 0 || pairs[at + 1] != 0) {
            if (pairs[at] == low && pairs[at + 1] == high) {
                return false;
            }
            at = at + 2 & pairs.length - 2;
        }
        pairs[at] = low;
        pairs[at + 1] = high;
        return true;
    }
}
