/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/** Lets work end in order when Ctrl-C or SIGTERM stops the process. */
public final class StopHook {
    /** A pipe that nobody reads may hold up the end of the work. */
    private static final int SECONDS_TO_PRINT = 5;

    private StopHook() {}

    /**
     * Does {@code work}. If the process is told to end meanwhile, {@code stop} tells the work so. The JVM ends when the
     * work has printed what it has, at the latest 5 s after {@code stop}.
     */
    public static <T> T during(Supplier<T> work, Runnable stop) {
        return during(work, stop, SECONDS_TO_PRINT, () -> {});
    }

    /** As {@link #during(Supplier, Runnable)}, at the latest {@code seconds} after {@code stop}, and {@code close} is last. */
    public static <T> T during(Supplier<T> work, Runnable stop, int seconds, Runnable close) {
        CountDownLatch ended = new CountDownLatch(1);
        Thread hook = new Thread(
                () -> {
                    stop.run();
                    await(ended, TimeUnit.SECONDS.toMillis(seconds));
                    close.run();
                },
                "kvmirq-stop");
        Runtime.getRuntime().addShutdownHook(hook);
        try {
            return work.get();
        } finally {
            ended.countDown();
            try {
                Runtime.getRuntime().removeShutdownHook(hook);
            } catch (IllegalStateException e) {
                // The JVM is stopping: the hook is running.
            }
        }
    }

    /** Waits for an end, and returns whether it came, or whether this thread is told to end. */
    public static boolean await(CountDownLatch end, long millis) {
        try {
            return end.await(millis, TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return true;
        }
    }
}
