/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

/**
 * The eventfds that an {@link EventLoop} waits for. Changes need the lock of the loop, {@link #await} and {@link #data}
 * its only dispatcher. The caller keeps the set open during each call.
 */
interface ReadySet extends AutoCloseable {
    /**
     * @param data what {@link #data} gives for this entry
     * @param events those of epoll; 0 for none until {@link #unmute}
     */
    void add(Fd file, long data, int events);

    /** Keeps the entry and reports it no more. */
    void mute(Fd file, long data, int events);

    /** Reports the entry again, at once if it is ready. */
    void unmute(Fd file, long data, int events);

    /** Fails only if the descriptor was closed behind our back. */
    void remove(Fd file, long data);

    /**
     * Waits for entries. Allocates nothing.
     *
     * @param timeoutNanos negative: without limit
     * @return how many are ready; 0 after the time, and after a signal
     */
    int await(long timeoutNanos);

    /**
     * Whether the last {@link #await} may have left entries that were ready already, so that another one without a
     * timeout finds them.
     */
    boolean mayHaveMore();

    /** The data of one of the entries that the last {@link #await} found ready. */
    long data(int index);

    @Override
    void close();
}
