/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A pool of native memory for threads that must not keep their own, such as virtual threads, of which there may be
 * millions. Memory allocated for one call would count against the JVM's limit until a garbage collection. Thread-safe.
 */
public final class Pool<T> {
    /** At least the carrier threads of a large host. Objects above this number are left to the garbage collector. */
    private static final int IDLE = 256;

    private final Supplier<T> maker;
    private final BlockingQueue<T> idle = new ArrayBlockingQueue<>(IDLE);

    /** @param maker creates another object if all are in use */
    public Pool(Supplier<T> maker) {
        this.maker = maker;
    }

    /** Takes an object for one call. {@link #giveBack} should follow. */
    public T take() {
        @Nullable T found = idle.poll();
        return found == null ? maker.get() : found;
    }

    /** Returns an object that the caller no longer uses. */
    public void giveBack(T used) {
        idle.offer(used);
    }
}
