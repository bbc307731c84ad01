/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

import io.kvmirq.arch.SharedWords;
import org.jspecify.annotations.Nullable;

/**
 * An eventfd that one listener may attach to, such as the unmask eventfd of VFIO. Signals without a listener are kept, as
 * one. Safe for use by any number of threads; one at a time attaches and detaches.
 */
public final class LineEvent implements Signal {
    /** Whether a signal waits for a listener. */
    static final int SIGNALLED = 0;
    /** Whether a listener is attached. */
    static final int LISTENED = 1;

    static final int WORDS = 2;

    private final SharedWords words;
    private final int base;
    private volatile @Nullable Signal listener;

    /** An eventfd without a listener and without a signal. */
    public LineEvent() {
        this(SharedWords.of(new long[WORDS]), 0);
    }

    LineEvent(SharedWords words, int base) {
        this.words = words;
        this.base = base;
    }

    int at(int word) {
        return base + word;
    }

    /** Passes the signal to the listener; keeps it if there is none. Does not allocate. */
    @Override
    public void signal() {
        words.or(at(SIGNALLED), 1);
        pass();
    }

    private void pass() {
        Signal to = listener;
        if (to != null && words.get(at(LISTENED)) != 0 && words.swap(at(SIGNALLED), 0) != 0) {
            to.signal();
        }
    }

    /** Whether a signal waits for a listener. */
    public boolean isSignalled() {
        return words.get(at(SIGNALLED)) != 0;
    }

    /** Attaches a listener. A signal that waits is passed to it at once. */
    void attach(Signal next) {
        listener = next;
        // Locked. Partner: the locked access of signal(), before it reads LISTENED.
        words.swap(at(LISTENED), 1);
        pass();
    }

    /** From now on signals are kept. */
    void detach() {
        words.swap(at(LISTENED), 0);
    }
}
