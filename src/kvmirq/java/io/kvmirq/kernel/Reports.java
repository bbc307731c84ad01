/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.events.Events;
import io.kvmirq.undo.ExitAwareWait;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Writes warnings to the user's logger, in order. A separate thread logs them, because the thread that finds a mistake
 * may hold a lock, and log handlers are user code. The logging thread ends after the last warning. {@link Kernel#close}
 * and an exiting JVM wait for it, but only for a limited time, because a log handler may block. {@code System.exit}
 * removes the handlers of java.util.logging, so later warnings are lost. Thread-safe.
 */
final class Reports {
    private static final long PATIENCE_NANOS = TimeUnit.SECONDS.toNanos(2);

    private record Report(
            System.Logger.Level level,
            String text,
            @Nullable Throwable cause) {}

    private final System.Logger logger;
    private final Set<String> said = ConcurrentHashMap.newKeySet();
    // Guarded by this
    private final Deque<Report> waiting = new ArrayDeque<>();
    /** Null while there is nothing to log. */
    private @Nullable Thread logging;

    Reports(System.Logger logger) {
        this.logger = logger;
    }

    void warn(String text, @Nullable Throwable cause) {
        Events.end(Events.begin(Events.Type.MISTAKE), text);
        report(new Report(System.Logger.Level.WARNING, text, cause));
    }

    void debug(String text) {
        report(new Report(System.Logger.Level.DEBUG, text, null));
    }

    private synchronized void report(Report report) {
        waiting.add(report);
        if (logging == null) {
            Thread end = new Thread(this::awaitLogged, "kvmirq-log-end");
            Thread thread = new Thread(() -> log(end), "kvmirq-log");
            thread.setDaemon(true);
            try {
                thread.start();
                logging = thread;
                atEnd(() -> Runtime.getRuntime().addShutdownHook(end));
            } catch (OutOfMemoryError e) {
                // No thread could be started. The next warning tries again.
            }
        }
    }

    /** Whether {@link #warnOnce} was called with this mistake. Takes no lock and allocates nothing. */
    boolean hasWarned(String mistake) {
        return said.contains(mistake);
    }

    /** Logs a warning about a mistake, only the first time. */
    void warnOnce(String mistake, String text) {
        if (said.add(mistake)) {
            warn(text, null);
        }
    }

    private synchronized @Nullable Report next() {
        Report next = waiting.poll();
        if (next == null) {
            logging = null;
            notifyAll();
        }
        return next;
    }

    private static void atEnd(Runnable change) {
        try {
            change.run();
        } catch (IllegalStateException e) {
            // The JVM is ending.
        }
    }

    /** Waits a limited time until all warnings are logged. Returns at once in a log handler. */
    synchronized void awaitLogged() {
        long end = System.nanoTime() + PATIENCE_NANOS;
        ExitAwareWait.uninterruptibly(
                () -> logging == null || logging == Thread.currentThread() || end - System.nanoTime() <= 0,
                nanos -> TimeUnit.NANOSECONDS.timedWait(this, nanos));
    }

    private void log(Thread end) {
        for (Report next = next(); next != null; next = next()) {
            try {
                logger.log(next.level, next.text, next.cause);
            } catch (RuntimeException | Error e) {
                // A log handler that fails is a fault of the user's code.
            }
        }
        atEnd(() -> Runtime.getRuntime().removeShutdownHook(end));
    }
}
