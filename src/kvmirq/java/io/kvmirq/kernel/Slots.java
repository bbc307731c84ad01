/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Handlers by a number that the kernel hands back, each with its owner. A slot is used again under another number, so
 * the number of an owner that was removed finds nothing. Changes need a lock; {@link #find} does not, and allocates
 * nothing. It touches no owner, but for each handler two arrays, in which neighbours share a line of the cache.
 */
final class Slots<T> {
    private static final VarHandle NUMBER = MethodHandles.arrayElementVarHandle(long[].class);

    /** By the low half of a number. */
    private static final class Table {
        /** The numbers whose handlers may be found; 0 for none. */
        private final long[] open;

        private final @Nullable Runnable[] handlers;

        Table(int slots) {
            open = new long[slots];
            handlers = new Runnable[slots];
        }

        Table doubled() {
            Table larger = new Table(2 * open.length);
            System.arraycopy(open, 0, larger.open, 0, open.length);
            System.arraycopy(handlers, 0, larger.handlers, 0, open.length);
            return larger;
        }
    }

    /** Replaced as a whole when it grows. */
    private volatile Table table = new Table(16);

    private final List<@Nullable T> owners = new ArrayList<>();
    private final Deque<Integer> free = new ArrayDeque<>();
    private int generation;

    /** A number for {@link #put}, above 0. */
    long next() {
        @Nullable Integer slot = free.poll();
        if (slot == null) {
            slot = owners.size();
            owners.add(null);
        }
        if (slot == table.open.length) {
            table = table.doubled();
        }
        generation = generation % Integer.MAX_VALUE + 1;
        return (long) generation << Integer.SIZE | slot;
    }

    /** The handler is not found before {@link #open}. */
    void put(long number, T owner, Runnable handler) {
        owners.set((int) number, owner);
        table.handlers[(int) number] = handler;
    }

    void open(long number) {
        NUMBER.setVolatile(table.open, (int) number, number);
    }

    /** From now on {@link #find} finds nothing. A handler that was found before may still be running. */
    void shut(long number) {
        NUMBER.setVolatile(table.open, (int) number, 0L);
    }

    /** Forgets what {@link #put} said, when the handler is not running. Does nothing the second time. */
    void remove(long number, T owner) {
        if (owner(number) == owner) {
            shut(number);
            table.handlers[(int) number] = null;
            owners.set((int) number, null);
            free.push((int) number);
        }
    }

    /** Null if the number is not open; any number is allowed, of slots that there are. */
    @Nullable
    Runnable find(long number) {
        Table now = table;
        return (long) NUMBER.getVolatile(now.open, (int) number) == number ? now.handlers[(int) number] : null;
    }

    /** Of the slot: null for none. */
    @Nullable
    T owner(long number) {
        return owners.get((int) number);
    }

    /** Allocates nothing; {@code action} may remove its owner. */
    void forEach(Consumer<T> action) {
        for (int slot = 0; slot < owners.size(); slot++) {
            @Nullable T owner = owners.get(slot);
            if (owner != null) {
                action.accept(owner);
            }
        }
    }
}
