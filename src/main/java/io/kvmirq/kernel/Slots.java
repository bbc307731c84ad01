/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Objects by a number that the kernel hands back. A slot is used again under another number, so the number of an object
 * that was removed finds nothing. Changes need a lock; {@link #find} does not, and allocates nothing.
 */
final class Slots<T> {
    private record Slot<T>(long number, T object) {}

    /** By the low half of a number; replaced as a whole when it grows. */
    private volatile @Nullable Slot<?>[] slots = new Slot<?>[16];

    private final Deque<Integer> free = new ArrayDeque<>();
    private int used;
    private int generation;

    /** A number for {@link #put}, not negative. */
    long next() {
        @Nullable Integer slot = free.poll();
        if (slot == null) {
            slot = used++;
        }
        if (slot == slots.length) {
            slots = Arrays.copyOf(slots, 2 * slots.length);
        }
        generation = generation + 1 & Integer.MAX_VALUE;
        return (long) generation << Integer.SIZE | slot;
    }

    void put(long number, T object) {
        slots[(int) number] = new Slot<>(number, object);
    }

    /** Forgets the object of this number. Does nothing the second time. */
    void remove(long number) {
        if (find(number) != null) {
            free.push((int) number);
            slots[(int) number] = null;
        }
    }

    @SuppressWarnings("unchecked") // only put() stores
    @Nullable
    T find(long number) {
        Slot<?> slot = slots[(int) number];
        return slot != null && slot.number == number ? (T) slot.object : null;
    }

    @SuppressWarnings("unchecked") // only put() stores
    List<T> all() {
        List<T> all = new ArrayList<>();
        for (Slot<?> slot : slots) {
            if (slot != null) {
                all.add((T) slot.object);
            }
        }
        return all;
    }
}
