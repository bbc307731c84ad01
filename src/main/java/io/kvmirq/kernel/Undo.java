/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import java.util.ArrayDeque;
import java.util.Deque;
import org.jspecify.annotations.Nullable;

/**
 * Undoes a set-up of many steps in one visible place: closes the added steps, last first, unless {@link #keep} is
 * called. Not thread-safe.
 */
public final class Undo implements AutoCloseable {
    private final Deque<AutoCloseable> added = new ArrayDeque<>(4);

    /** @return {@code step}, whose closing never fails */
    public <T extends AutoCloseable> T add(T step) {
        added.push(step);
        return step;
    }

    /** Moves all steps to {@code outer}, in the same order. */
    public void moveTo(Undo outer) {
        while (!added.isEmpty()) {
            outer.added.push(added.pollLast());
        }
    }

    /** The set-up succeeded: nothing is undone. */
    public void keep() {
        added.clear();
    }

    @Override
    public void close() {
        @Nullable Throwable failed = null;
        while (!added.isEmpty()) {
            try {
                added.pop().close();
            } catch (Exception e) {
                failed = e;
            }
        }
        if (failed != null) {
            throw new AssertionError("tear-down never fails", failed);
        }
    }
}
