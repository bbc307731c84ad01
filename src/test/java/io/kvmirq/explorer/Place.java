/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.util.Objects;
import java.util.function.LongUnaryOperator;
import org.jspecify.annotations.Nullable;

/** A place in an actor's operations: the operation, the results of its accesses so far, and its next access. */
final class Place {
    /** The next access of the code. */
    enum Next {
        LOAD,
        STORE,
        UPDATE,
        PAIR,
        LOCK,
        FENCE,
        CHOICE,
        /** None: the code ends. */
        END
    }

    private static final LongUnaryOperator KEPT = old -> old;

    /** The number of the operation in those of the actor. */
    final int operation;

    final @Nullable Place before;
    /** The result that led here. */
    final long result;
    /** The number of results. */
    final int depth;
    /** A number that no other place of the search has. */
    final int id;

    Next next = Next.END;
    int word = -1;
    long mask;
    /** The value to store, or the number of alternatives. */
    long value;

    LongUnaryOperator change = KEPT;
    /** The operation's name, or the name that the code gave to what it does. */
    String name;

    private long[] results = new long[2];
    private @Nullable Place[] after = new Place[2];
    private int size;

    /** The begin of an operation. */
    Place(int operation, String name, int id) {
        this(operation, name, id, null, 0);
    }

    /** The place behind another one. */
    Place(Place before, long result, int id) {
        this(before.operation, before.name, id, before, result);
    }

    private Place(int operation, String name, int id, @Nullable Place before, long result) {
        this.operation = operation;
        this.name = name;
        this.id = id;
        this.before = before;
        this.result = result;
        this.depth = before == null ? 0 : before.depth + 1;
    }

    boolean isFirst() {
        return depth == 0;
    }

    /** All results up to here. */
    long[] results() {
        long[] all = new long[depth];
        Place place = this;
        for (int i = depth - 1; i >= 0; i--) {
            all[i] = place.result;
            place = Objects.requireNonNull(place.before);
        }
        return all;
    }

    /** The place behind this one, if it was reached before. */
    @Nullable
    Place after(long returned) {
        for (int at = slot(returned, after.length); ; at = at + 1 & after.length - 1) {
            Place place = after[at];
            if (place == null || results[at] == returned) {
                return place;
            }
        }
    }

    void add(Place place) {
        size++;
        if (2 * size > after.length) {
            @Nullable Place[] old = after;
            after = new Place[2 * old.length];
            results = new long[2 * old.length];
            for (Place moved : old) {
                if (moved != null) {
                    put(moved);
                }
            }
        }
        put(place);
    }

    private void put(Place place) {
        int at = slot(place.result, after.length);
        while (after[at] != null) {
            at = at + 1 & after.length - 1;
        }
        after[at] = place;
        results[at] = place.result;
    }

    private static int slot(long returned, int length) {
        return (int) (returned * 0x9e3779b97f4a7c15L >>> 40) & length - 1;
    }
}
