/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import java.io.IOException;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.spi.AbstractSelectableChannel;
import java.nio.channels.spi.AbstractSelector;
import java.time.Duration;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/**
 * Runs an action when {@link Thread#interrupt} interrupts a thread that waits in the kernel, as in {@link
 * Selector#select()}. The JDK offers this hook only to selectors, so this class is a selector that selects nothing.
 * Several threads may wait at once. Also computes a wait's remaining time.
 */
final class Interruption extends AbstractSelector {
    /**
     * The interval in nanoseconds at which a waiting thread checks its interrupt status. Before JDK 23,
     * Thread.interrupt reads the hook before it sets the status, so it can miss a wait that has just begun
     * (JDK-8323782).
     */
    private static final long LOOK_NANOS = TimeUnit.SECONDS.toNanos(1);

    private static final boolean MAY_BE_LOST = Runtime.version().feature() < 23;
    private final Runnable action;

    /**
     * @param action ends the wait in the kernel. It may run in the interrupting thread, under a lock of the interrupted
     *     thread, once more than needed, and after {@link #leave}
     */
    Interruption(Runnable action) {
        super(null);
        this.action = action;
    }

    /** Begins a wait. Runs the action at once if the thread is interrupted already. */
    void enter() {
        begin();
    }

    /** Ends a wait. */
    void leave() {
        end();
    }

    /** Converts a timeout to nanoseconds; 0 if it is negative, {@code Long.MAX_VALUE} if it does not fit a long. */
    static long nanos(Duration timeout) {
        return Math.max(0, TimeUnit.NANOSECONDS.convert(Objects.requireNonNull(timeout, "timeout is null")));
    }

    /**
     * The remaining time of a timeout that began at {@code start}, a {@link System#nanoTime}. Does not read the clock
     * if the timeout is 0, or negative, which means no limit.
     */
    static long left(long timeoutNanos, long start) {
        return timeoutNanos <= 0 ? timeoutNanos : Math.max(0, timeoutNanos - (System.nanoTime() - start));
    }

    /** The timeout of one wait in the kernel. Negative means no limit. */
    static long once(long timeoutNanos) {
        return MAY_BE_LOST && (timeoutNanos < 0 || timeoutNanos > LOOK_NANOS) ? LOOK_NANOS : timeoutNanos;
    }

    @Override
    public Selector wakeup() {
        action.run();
        return this;
    }

    @Override
    protected void implCloseSelector() throws IOException {}

    @Override
    protected SelectionKey register(AbstractSelectableChannel channel, int operations, Object attachment) {
        throw new UnsupportedOperationException();
    }

    @Override
    public Set<SelectionKey> keys() {
        return Set.of();
    }

    @Override
    public Set<SelectionKey> selectedKeys() {
        return Set.of();
    }

    @Override
    public int selectNow() {
        return 0;
    }

    @Override
    public int select(long timeout) {
        return 0;
    }

    @Override
    public int select() {
        return 0;
    }
}
