/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import io.kvmirq.backend.CurrentThread;
import io.kvmirq.backend.Pool;
import java.lang.ref.Reference;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * One object for each platform thread; virtual threads take theirs from a {@link Pool} for one call. {@link #done} ends
 * each use.
 *
 * <p>Between two system calls looking into a {@link ThreadLocal} costs some 8 ns, so what belongs to a thread that calls
 * often is tried first. Only its owner receives it. This keeps one owner's {@link Thread} reachable, no more.
 */
final class PerThread<T extends PerThread.Owned> {
    /** Misses after which a thread gets the first place: threads that take turns must not take it at each call. */
    private static final int PATIENCE = 64;

    private final Pool<T> ofVirtualThreads;
    private final ThreadLocal<T> ofPlatformThread;
    /** Read and written in no order: its owner alone uses what is seen here, and others see final fields only. */
    private @Nullable T first;

    /** Belongs to the platform thread that makes it, or to the pool. */
    abstract static class Owned {
        private final @Nullable Thread owner = CurrentThread.isVirtual() ? null : Thread.currentThread();
        /** The owner's. */
        private int misses;
    }

    PerThread(Supplier<T> maker) {
        this.ofVirtualThreads = new Pool<>(maker);
        this.ofPlatformThread = ThreadLocal.withInitial(maker);
    }

    T get() {
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
        if (owned.misses == PATIENCE) {
            owned.misses = 0;
            first = mine;
        }
        return mine;
    }

    /** Ends the use that {@link #get} began, and keeps {@code used} reachable until here. */
    void done(T used) {
        try {
            if (owned(used).owner == null) {
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
