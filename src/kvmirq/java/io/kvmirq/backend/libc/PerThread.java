/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import io.kvmirq.backend.CurrentThread;
import io.kvmirq.backend.Pool;
import java.lang.ref.Reference;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * One object for each platform thread. A virtual thread takes an object from a {@link Pool} for each call. {@link
 * #done} ends each use.
 *
 * <p>Reading a {@link ThreadLocal} between two system calls costs about 8 ns, so {@code first} caches the object of a
 * thread that calls often. The cache keeps at most one {@link Thread} reachable.
 *
 * <p>A reserve object exists for threads that cannot allocate their own, because tear-down must work without free
 * memory. One call uses the reserve at a time, and others wait.
 */
final class PerThread<T extends PerThread.Owned> {
    /** A thread takes over the cache after this many misses. Alternating threads must not replace it at each call. */
    private static final int MOST_MISSES = 64;

    private static final long PAUSE_NANOS = 1_000_000_000;

    private final Supplier<T> maker;
    /** The time of the last failed allocation, or 0. */
    private volatile long failedAt;

    private final Pool<T> ofVirtualThreads;
    private final ThreadLocal<T> ofPlatformThread;
    /** The cached object. The race is intended, because other threads read only the final field. */
    private @Nullable T first;

    private final T reserve;
    private final ReentrantLock reserved = new ReentrantLock();

    /** An object that belongs to the platform thread that creates it, or to the pool. */
    abstract static class Owned {
        private final @Nullable Thread owner = CurrentThread.isVirtual() ? null : Thread.currentThread();
        /** Only the owner uses it. */
        private int misses;
    }

    PerThread(Supplier<T> maker) {
        this.maker = maker;
        this.ofVirtualThreads = new Pool<>(new Making());
        this.ofPlatformThread = ThreadLocal.withInitial(new Making());
        this.reserve = maker.get();
    }

    /** A class, not a lambda, because the first lambda of a JVM takes milliseconds. */
    private final class Making implements Supplier<T> {
        @Override
        public T get() {
            return make();
        }
    }

    /** Does not allocate right after a failure, because the JVM collects garbage before it throws OutOfMemoryError. */
    private T make() {
        long failed = failedAt;
        if (failed != 0 && System.nanoTime() - failed < PAUSE_NANOS) {
            throw new OutOfMemoryError("no memory for the arguments of a call, as a moment ago");
        }
        try {
            return maker.get();
        } catch (OutOfMemoryError e) {
            failedAt = System.nanoTime() | 1;
            throw e;
        }
    }

    /** Returns an object for a call that does not wait in the kernel. Returns the reserve if memory runs out. */
    T get() {
        try {
            return getOwn();
        } catch (OutOfMemoryError e) {
            reserved.lock();
            return reserve;
        }
    }

    /** An object for a call that may wait in the kernel, never the reserve. Throws OutOfMemoryError without memory. */
    T getOwn() {
        T candidate = first;
        return candidate != null && owned(candidate).owner == Thread.currentThread() ? candidate : find();
    }

    private T find() {
        if (CurrentThread.isVirtual()) {
            return ofVirtualThreads.take();
        }
        T mine = ofPlatformThread.get();
        Owned owned = owned(mine);
        owned.misses++;
        if (owned.misses == MOST_MISSES) {
            owned.misses = 0;
            first = mine;
        }
        return mine;
    }

    /** Ends the use that {@link #get} or {@link #getOwn} began, and keeps {@code used} reachable until then. */
    void done(T used) {
        try {
            if (used == reserve) {
                reserved.unlock();
            } else if (owned(used).owner == null) {
                ofVirtualThreads.giveBack(used);
            }
        } finally {
            Reference.reachabilityFence(used);
        }
    }

    private static Owned owned(Owned owned) {
        return owned;
    }
}
