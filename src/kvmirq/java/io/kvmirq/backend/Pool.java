/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.NotPromised;
import java.util.Objects;
import java.util.concurrent.BlockingDeque;
import java.util.concurrent.LinkedBlockingDeque;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A pool of native memory for virtual threads, which may be millions and must not keep their own. Allocating for each
 * call would reach the JVM's limit of direct memory before a garbage collection. Thread-safe.
 */
@NotPromised
public final class Pool<T> {
    /** At least the carrier threads of a large host. Objects above this number are left to the garbage collector. */
    private static final int IDLE = 256;

    private final Supplier<T> maker;
    private final BlockingDeque<T> idle;

    /** @param maker makes an object when the pool has no idle one */
    public Pool(Supplier<T> maker) {
        this(maker, IDLE);
        Objects.requireNonNull(maker, "maker is null");
    }

    /** @param mostIdle the greatest number of idle objects that the pool keeps */
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
