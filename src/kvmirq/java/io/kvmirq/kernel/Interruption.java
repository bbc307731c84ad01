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
 * Runs an action when {@link Thread#interrupt} interrupts a thread that waits in the kernel, as for {@link
 * Selector#select()}. The JDK has this hook only for selectors, so this is one that selects nothing. Several threads
 * may wait at once. Also computes the rest of a wait's time.
 */
final class Interruption extends AbstractSelector {
    /**
     * Thread.interrupt before JDK 23 looks for a hook first and sets the status then, so that a thread which enters
     * between the two waits on (JDK-8323782). It must look at its status again: this often, in nanoseconds.
     */
    private static final long LOOK_NANOS = TimeUnit.SECONDS.toNanos(1);

    private static final boolean MAY_BE_LOST = Runtime.version().feature() < 23;
    private final Runnable action;

    /**
     * @param action ends the wait in the kernel. It may run in the interrupting thread under a lock of the interrupted
     *     one, once more than needed, and after {@link #leave}
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

    /** A timeout in nanoseconds: 0 for a negative one, {@code Long.MAX_VALUE} for one that is too long for a long. */
    static long nanos(Duration timeout) {
        return Math.max(0, TimeUnit.NANOSECONDS.convert(Objects.requireNonNull(timeout, "timeout is null")));
    }

    /**
     * The time that is left of a timeout that began at a {@link System#nanoTime}. Does not read the clock for a
     * negative timeout, which has no limit, and for 0.
     */
    static long left(long timeoutNanos, long start) {
        return timeoutNanos <= 0 ? timeoutNanos : Math.max(0, timeoutNanos - (System.nanoTime() - start));
    }

    /** The time of one wait in the kernel. A negative timeout has no limit. */
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
