/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.undo;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Undoes a set-up of many steps by closing the added steps, last first, unless {@link #keep} is called. Not
 * thread-safe.
 *
 * <p>{@code new Undo()} throws StackOverflowError, before the set-up begins, if too little stack is left to undo the
 * set-up.
 */
public final class Undo implements AutoCloseable {
    /** The number of {@link #room} frames that must fit on the stack, 5.5 KiB, or 2 KiB once optimized. */
    private static final int FRAMES_OF_ROOM = 16;

    private final Deque<AutoCloseable> added = new ArrayDeque<>();

    /** @throws StackOverflowError if the stack is almost used up */
    public Undo() {
        room(FRAMES_OF_ROOM, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    }

    /** Uses few but wide frames. The values are used after the inner call, so each frame holds them. */
    private static long room(
            int frames,
            long a,
            long b,
            long c,
            long d,
            long e,
            long f,
            long g,
            long h,
            long i,
            long j,
            long k,
            long l,
            long m,
            long n,
            long o,
            long p) {
        return frames == 0
                ? 0
                : room(frames - 1, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, a + frames)
                        + (a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j ^ k ^ l ^ m ^ n ^ o ^ p);
    }

    /** Adds {@code step} and returns it, or closes it if it cannot be added. {@code step.close()} must never fail. */
    public <T extends AutoCloseable> T add(T step) {
        Objects.requireNonNull(step, "step is null");
        boolean done = false;
        try {
            added.push(step);
            done = true;
            return step;
        } finally {
            if (!done) {
                close(step);
            }
        }
    }

    /**
     * Runs {@code step}, then adds {@code back}. Because {@code back} exists before the step, a failure cannot lose the
     * undo.
     *
     * @param back undoes the step, and must never fail
     */
    public void step(Runnable step, AutoCloseable back) {
        Objects.requireNonNull(back, "back is null");
        step.run();
        add(back);
    }

    /** Moves all steps to {@code outer}, in the same order. */
    public void moveTo(Undo outer) {
        Objects.requireNonNull(outer, "outer is null");
        while (!added.isEmpty()) {
            outer.added.push(added.getLast());
            added.removeLast();
        }
    }

    /** Ends a successful set-up, so that {@link #close} undoes none of its steps. */
    public void keep() {
        added.clear();
    }

    /**
     * Undoes every step. If a step's undo throws, the other steps are still undone, and the next close tries the failed
     * undo again. Does not allocate unless an undo fails.
     */
    @Override
    public void close() {
        @Nullable Throwable failed = null;
        for (int left = added.size(); left > 0; left--) {
            AutoCloseable step = added.pop();
            @Nullable Throwable failure = close(step);
            if (failure != null) {
                added.addLast(step); // for the next close, in the same order
                failed = failure;
            }
        }
        if (failed instanceof VirtualMachineError error) {
            throw error;
        }
        if (failed != null) {
            throw new AssertionError("tear-down never fails", failed);
        }
    }

    private static @Nullable Throwable close(AutoCloseable step) {
        try {
            step.close();
            return null;
        } catch (Throwable e) {
            return e;
        }
    }
}
