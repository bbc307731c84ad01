/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.Buffers;
import io.kvmirq.undo.ExitAwareWait;
import java.nio.ByteBuffer;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/** Tracks which of an {@link EventLoop}'s handlers runs, and which threads wait for it. */
final class Handlers {
    /** A number that no registration has. Its slot is the first one. */
    static final long NONE = Long.MIN_VALUE;

    /** Guards all changes of registrations. No thread holds it while it runs a handler. */
    final ReentrantLock lock = new ReentrantLock();

    private final Condition handled = lock.newCondition();
    final Slots<Registration> registrations = new Slots<>();
    final EpollSet set;
    /** The thread in {@link EventLoop#run} or {@link EventLoop#runOnce}. */
    final AtomicReference<@Nullable Thread> dispatcher = new AtomicReference<>();
    /** 8 bytes for a count. Only the dispatcher uses them. */
    final ByteBuffer count = Buffers.allocate(Long.BYTES);
    /** The number of handlers called in this round. Only the dispatcher uses it. */
    int called;

    /**
     * The number of the registration whose handler runs. The dispatcher writes it and then checks that the registration
     * is open. A thread that closes a registration first shuts it and then reads this number, so at least one of the
     * two sees the other's write.
     */
    private final AtomicLong running = new AtomicLong(NONE);
    /**
     * The number of threads that wait for a handler to end. A waiter increments this number before it reads {@link
     * #running}, and the dispatcher writes {@link #running} before it reads this number.
     */
    private final AtomicInteger waiting = new AtomicInteger();
    /** The registration that the running handler has closed. Guarded by the lock. */
    private @Nullable Registration closedByItself;
    /** Orders the write before the read on each side. */
    private final RemoteFence fence;

    Handlers(RemoteFence fence, EpollSet set) {
        this.fence = fence;
        this.set = set;
    }

    /** Ends one handler's run and begins another's. One fence is enough for both. */
    void moveTo(long next) {
        running.setRelease(next);
        fence.pass();
        if (waiting.get() != 0) {
            lock.lock();
            try {
                handled.signalAll();
            } finally {
                lock.unlock();
            }
        }
    }

    /**
     * Waits until a handler is not running. Returns at once in the handler itself. The caller holds the lock.
     *
     * @return false if the JVM exits while the handler still runs, so the caller must not release what the handler uses
     */
    boolean awaitEnd(long number) {
        Thread other = dispatcher.get();
        if (other == null || other == Thread.currentThread()) {
            return true;
        }
        waiting.incrementAndGet();
        fence.make(other);
        boolean ended = ExitAwareWait.uninterruptibly(() -> running.getAcquire() != number, handled::awaitNanos);
        waiting.decrementAndGet();
        return ended;
    }

    /** Removes a registration, whose handler is not running or is the caller. The caller holds the lock. */
    void remove(Registration registration) {
        registrations.remove(registration.number, registration);
        if (running.get() == registration.number) {
            closedByItself = registration;
        }
    }

    /** The registration whose handler threw. Only the dispatcher calls it. */
    Registration failed(long number) {
        lock.lock();
        try {
            @Nullable Registration closed = closedByItself;
            return closed != null && closed.number == number
                    ? closed
                    : Objects.requireNonNull(registrations.owner(number));
        } finally {
            lock.unlock();
        }
    }
}
