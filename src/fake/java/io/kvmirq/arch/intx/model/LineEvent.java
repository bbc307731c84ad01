/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.arch.SharedWords;
import org.jspecify.annotations.Nullable;

/**
 * An eventfd with at most one listener, such as the unmask eventfd of VFIO. If there is no listener, the eventfd keeps
 * all signals as one signal. A listener runs under this object's lock: it must not signal the same eventfd or change
 * its listener. Safe for use by any number of threads.
 */
public final class LineEvent implements Signal {
    /** Whether a signal is kept for a listener. */
    static final int SIGNALLED = 0;
    /** Whether there is a listener. */
    static final int LISTENED = 1;

    /** The lock that is held while the listener runs, so that {@code virqfd_disable} can flush. Guards LISTENED. */
    static final int PASSING = 2;

    static final int WORDS = 3;

    private final SharedWords words;
    private final int base;
    private final WordLock passing;
    private volatile @Nullable Signal listener;

    public LineEvent() {
        this(SharedWords.of(new long[WORDS]), 0);
    }

    LineEvent(SharedWords words, int base) {
        this.words = words;
        this.base = base;
        this.passing = new WordLock(words, at(PASSING));
    }

    int at(int word) {
        return base + word;
    }

    /** Passes the signal to the listener, or keeps it for a later listener if there is none. Does not allocate. */
    @Override
    public void signal() {
        words.or(at(SIGNALLED), 1);
        pass();
    }

    private void pass() {
        passing.take();
        try (passing) {
            Signal to = listener;
            if (to != null && words.get(at(LISTENED)) != 0 && words.swap(at(SIGNALLED), 0) != 0) {
                to.signal();
            }
        }
    }

    public boolean isSignalled() {
        return words.get(at(SIGNALLED)) != 0;
    }

    /** Sets the listener, and passes a kept signal to it at once. */
    void listen(Signal next) {
        words.lock(at(PASSING));
        listener = next;
        words.set(at(LISTENED), 1);
        words.unlock(at(PASSING));
        pass();
    }

    /** Waits until no listener runs ({@code vfio_virqfd_flush_thread}). */
    void awaitListener() {
        words.lock(at(PASSING));
        words.unlock(at(PASSING));
    }

    /** Removes the listener after it has returned. Later signals are kept. */
    void unlisten() {
        words.lock(at(PASSING));
        words.set(at(LISTENED), 0);
        words.unlock(at(PASSING));
    }
}
