/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.NotPromised;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Reports whether the current thread is virtual. */
@NotPromised
public final class CurrentThread {
    /** {@code Thread.isVirtual()}, or null before Java 21. */
    private static final @Nullable MethodHandle IS_VIRTUAL = find();

    private CurrentThread() {}

    private static @Nullable MethodHandle find() {
        try {
            return MethodHandles.publicLookup()
                    .findVirtual(Thread.class, "isVirtual", MethodType.methodType(boolean.class));
        } catch (ReflectiveOperationException e) {
            return null;
        }
    }

    /** Whether the current thread is virtual. False before Java 21. */
    public static boolean isVirtual() {
        try {
            return IS_VIRTUAL != null && (boolean) IS_VIRTUAL.invokeExact(Thread.currentThread());
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /**
     * Rejects virtual threads for a call that blocks in the kernel, because the call would hold the carrier. If such
     * calls hold all carriers, no virtual thread runs.
     *
     * @throws IllegalStateException on a virtual thread
     */
    public static void requirePlatform(String call) {
        Objects.requireNonNull(call, "call is null");
        if (isVirtual()) {
            throw new IllegalStateException(
                    call + " blocks in the kernel and would pin the carrier of a virtual thread:"
                            + " call it from a platform thread");
        }
    }
}
