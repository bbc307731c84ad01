/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.NotPromised;
import java.util.Objects;
import java.util.concurrent.BlockingDeque;
import java.util.concurrent.LinkedBlockingDeque;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A pool of native memory for virtual threads, of which there may be too many for per-thread memory. Allocating for
 * each call would reach the JVM's direct memory limit before the garbage collector runs. Thread-safe.
 */
@NotPromised
public final class Pool<T> {
    /** At least as many as a large host's carrier threads. Objects beyond this are left to the garbage collector. */
    private static final int IDLE = 256;

    private final Supplier<T> maker;
    private final BlockingDeque<T> idle;

    /** @param maker creates an object when the pool has no idle one */
    public Pool(Supplier<T> maker) {
        this(maker, IDLE);
        Objects.requireNonNull(maker, "maker is null");
    }

    /** @param mostIdle the maximum number of idle objects that the pool keeps */
    public Pool(Supplier<T> maker, int mostIdle) {
        Objects.requireNonNull(maker, "maker is null");
        this.maker = maker;
        this.idle = new LinkedBlockingDeque<>(mostIdle);
    }

    /** Returns an idle object, or a new one, for one call. Pass the object to {@link #giveBack} afterwards. */
    public T take() {
        @Nullable T found = idle.pollFirst();
        return found == null ? maker.get() : found;
    }

    /** Puts an object back into the pool after its use. */
    public void giveBack(T used) {
        idle.offerFirst(used);
    }
}
