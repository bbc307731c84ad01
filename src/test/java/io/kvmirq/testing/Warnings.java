/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/** What the library says to its users' log. */
public final class Warnings {
    private Warnings() {}

    /** The messages that are logged while {@code work} runs, and by the thread that logs what it did. */
    public static List<String> of(Runnable work) {
        return of(() -> {}, work);
    }

    /** @param handler runs in the thread that logs, for each message */
    public static List<String> of(Runnable handler, Runnable work) {
        List<String> said = new CopyOnWriteArrayList<>();
        Logger logger = Logger.getLogger("io.kvmirq");
        Handler recorder = new Handler() {
            @Override
            public void publish(LogRecord record) {
                handler.run();
                said.add(record.getMessage());
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        };
        awaitLogged(); // warnings of an earlier test
        logger.addHandler(recorder);
        logger.setUseParentHandlers(false);
        try {
            work.run();
            awaitLogged();
        } finally {
            logger.removeHandler(recorder);
            logger.setUseParentHandlers(true);
        }
        return said;
    }

    private static void awaitLogged() {
        try {
            for (Thread thread : Thread.getAllStackTraces().keySet()) {
                if (thread.getName().equals("kvmirq-log")) {
                    thread.join();
                }
            }
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }
}
