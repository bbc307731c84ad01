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
 * Handlers and their owners by the number that the kernel reports. A reused slot gets a new number, so a removed
 * owner's number finds nothing. Changes need a lock, but {@link #find} needs none and does not allocate. It reads only
 * two arrays and no owner, so that neighboring slots share a cache line.
 */
final class Slots<T> {
    private static final VarHandle NUMBER = MethodHandles.arrayElementVarHandle(long[].class);

    /** Arrays whose index is the slot, the low half of a number. */
    private static final class Table {
        /** The number whose handler may be found, or 0. */
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

    /** The current table, replaced as a whole by a larger one. */
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

    /** Stores a handler, which {@link #find} does not find until {@link #open}. */
    void put(long number, T owner, Runnable handler) {
        owners.set((int) number, owner);
        table.handlers[(int) number] = handler;
    }

    void open(long number) {
        NUMBER.setVolatile(table.open, (int) number, number);
    }

    /** Makes {@link #find} find nothing. A handler that it found before may still run. */
    void shut(long number) {
        NUMBER.setVolatile(table.open, (int) number, 0L);
    }

    /** Removes a handler that is not running. Does nothing the second time. */
    void remove(long number, T owner) {
        if (owner(number) == owner) {
            shut(number);
            table.handlers[(int) number] = null;
            owners.set((int) number, null);
            free.push((int) number);
        }
    }

    /** A number's handler, or null if the number is not open. The slot must exist. */
    @Nullable
    Runnable find(long number) {
        Table now = table;
        return (long) NUMBER.getVolatile(now.open, (int) number) == number ? now.handlers[(int) number] : null;
    }

    /** The owner in the slot of a number, or null. */
    @Nullable
    T owner(long number) {
        return owners.get((int) number);
    }

    /** Calls {@code action} for each owner, which it may remove. Allocates nothing. */
    void forEach(Consumer<T> action) {
        for (int slot = 0; slot < owners.size(); slot++) {
            @Nullable T owner = owners.get(slot);
            if (owner != null) {
                action.accept(owner);
            }
        }
    }
}
