/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.undo;

import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/**
 * Waits for another thread during tear-down. While the JVM exits, a wait ends after 500 ms, because the other thread
 * may be inside {@code System.exit}, which waits for the hook that waits here. After a timeout, release nothing that
 * the other thread may use. The process ends soon anyway. Thread-safe.
 */
public final class ExitAwareWait {
    /** The longest wait after the JVM began to exit, minus one {@link Look}. */
    private static final long LIMIT_NANOS = TimeUnit.MILLISECONDS.toNanos(450);
    /** The limit after a thread's first timeout, because all handles that it closes may wait for the same thread. */
    private static final long NEXT_LIMIT_NANOS = TimeUnit.MILLISECONDS.toNanos(50);

    private static final long LOOK_NANOS = TimeUnit.MILLISECONDS.toNanos(50);
    private static final ThreadLocal<Long> LIMIT = ThreadLocal.withInitial(() -> LIMIT_NANOS);
    /** Never added as a hook. Removing it fails during shutdown. */
    private static final Thread NO_HOOK = new Thread(null, () -> {}, "kvmirq-no-hook", 0, false);

    private ExitAwareWait() {}

    /** A timed wait for a change, like {@code Condition.awaitNanos}, which may end without a change. */
    @FunctionalInterface
    public interface Look {
        /** Waits for at most {@code nanos} nanoseconds. */
        void awaitNanos(long nanos) throws InterruptedException;
    }

    /** Whether shutdown hooks are running or have run. */
    private static boolean isExiting() {
        try {
            Runtime.getRuntime().removeShutdownHook(NO_HOOK);
            return false;
        } catch (IllegalStateException e) {
            return true;
        }
    }

    /**
     * Waits until {@code done} returns true. An interrupt ends the wait.
     *
     * @return false if the JVM is shutting down and the wait timed out
     * @throws InterruptedException if the thread is interrupted
     */
    public static boolean until(BooleanSupplier done, Look look) throws InterruptedException {
        boolean exits = false;
        long end = 0;
        while (!done.getAsBoolean()) {
            if (!exits && isExiting()) {
                exits = true;
                end = System.nanoTime() + LIMIT.get();
            }
            long left = exits ? end - System.nanoTime() : LOOK_NANOS;
            if (left <= 0) {
                LIMIT.set(NEXT_LIMIT_NANOS);
                return false;
            }
            look.awaitNanos(Math.min(left, LOOK_NANOS));
        }
        return true;
    }

    /** Waits like {@link #until}, but an interrupt does not end the wait. The interrupt status stays set. */
    public static boolean uninterruptibly(BooleanSupplier done, Look look) {
        boolean interrupted = false;
        try {
            while (true) {
                try {
                    return until(done, look);
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }
}
