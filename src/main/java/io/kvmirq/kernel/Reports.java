/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Warnings to the user's logger, in their order. A thread of their own logs them: whoever finds one may hold a lock, and
 * log handlers are code of the user. The thread ends with the last warning. Thread-safe.
 */
final class Reports {
    private record Report(String text, @Nullable Throwable cause) {}

    private final System.Logger logger;
    private final Set<String> said = ConcurrentHashMap.newKeySet();
    // Guarded by this
    private final Deque<Report> waiting = new ArrayDeque<>();
    private boolean logging;

    Reports(System.Logger logger) {
        this.logger = logger;
    }

    synchronized void warn(String text, @Nullable Throwable cause) {
        waiting.add(new Report(text, cause));
        if (!logging) {
            Thread thread = new Thread(this::log, "kvmirq-log");
            thread.setDaemon(false); // a process that ends at once still says what it forgot
            try {
                thread.start();
                logging = true;
            } catch (OutOfMemoryError e) {
                // No thread can be made: the next warning tries again.
            }
        }
    }

    /** Whether {@link #warnOnce} warned of it. Takes no lock and allocates nothing. */
    boolean hasWarned(String mistake) {
        return said.contains(mistake);
    }

    /** Warns of a mistake when it is made first. */
    void warnOnce(String mistake, String text) {
        if (said.add(mistake)) {
            warn(text, null);
        }
    }

    private synchronized @Nullable Report next() {
        Report next = waiting.poll();
        logging = next != null;
        return next;
    }

    private void log() {
        for (Report next = next(); next != null; next = next()) {
            try {
                logger.log(System.Logger.Level.WARNING, next.text, next.cause);
            } catch (RuntimeException | Error e) {
                // A log handler's failure is its user's.
            }
        }
    }
}
