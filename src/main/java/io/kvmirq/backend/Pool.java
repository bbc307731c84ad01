/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Native memory that threads use in turn, such as virtual threads: there may be millions, so none keeps memory of its own.
 * Memory made for one call would count against the JVM's limit until the collector runs. Thread-safe.
 */
public final class Pool<T> {
    /** At least the carriers of a large host; what more threads need at a time is left to the collector. */
    private static final int IDLE = 256;

    private final Supplier<T> maker;
    private final BlockingQueue<T> idle = new ArrayBlockingQueue<>(IDLE);

    /** @param maker makes one more when all are in use */
    public Pool(Supplier<T> maker) {
        this.maker = maker;
    }

    /** For one call; {@link #giveBack} should follow. */
    public T take() {
        @Nullable T found = idle.poll();
        return found == null ? maker.get() : found;
    }

    /** The caller no longer uses it. */
    public void giveBack(T used) {
        idle.offer(used);
    }
}
