/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.Buffers;
import java.nio.ByteBuffer;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** The handlers of an {@link EventLoop}: which of them runs, and who waits for its end. */
final class Handlers {
    /** No registration has it; its slot is the first. */
    static final long NONE = Long.MIN_VALUE;

    /** For all changes of registrations. Never held while a handler runs. */
    final ReentrantLock lock = new ReentrantLock();

    private final Condition handled = lock.newCondition();
    final Slots<Registration> registrations = new Slots<>();
    final ReadySet set;
    /** The thread in {@link EventLoop#run} or {@link EventLoop#runOnce}. */
    final AtomicReference<@Nullable Thread> dispatcher = new AtomicReference<>();
    /** Of the dispatcher: 8 bytes for a count. */
    final ByteBuffer count = Buffers.allocate(Long.BYTES);
    /** Of the dispatcher: handlers that this round has called. */
    int called;

    /**
     * The number of the registration whose handler runs, if it is open. The dispatcher writes this, then looks whether
     * it is; who ends a registration's runs shuts it, then reads this: one of both sees the other.
     */
    private final AtomicLong running = new AtomicLong(NONE);
    /** Threads that wait for a handler's end. They count up, then read {@link #running}; the dispatcher the reverse. */
    private final AtomicInteger waiting = new AtomicInteger();
    /** The registration that the handler which runs has closed. Of the lock. */
    private @Nullable Registration closedByItself;
    /** Between the write and the read of each side. */
    private final RemoteFence fence;

    /** @param set made with the lock */
    Handlers(RemoteFence fence, Function<ReentrantLock, ReadySet> set) {
        this.fence = fence;
        this.set = set.apply(lock);
    }

    /** Ends the run of one handler, and begins that of another: one fence is enough for both. */
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

    /** Waits until a handler is not running; not at all in the handler. Under the lock. */
    void awaitEnd(long number) {
        Thread other = dispatcher.get();
        if (other != null && other != Thread.currentThread()) {
            waiting.incrementAndGet();
            fence.make(other);
            while (running.getAcquire() == number) {
                handled.awaitUninterruptibly();
            }
            waiting.decrementAndGet();
        }
    }

    /** Forgets a registration whose handler is not running, or which its handler closes. Under the lock. */
    void remove(Registration one) {
        registrations.remove(one.number, one);
        if (running.get() == one.number) {
            closedByItself = one;
        }
    }

    /** Of the dispatcher: the registration whose handler threw. */
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
