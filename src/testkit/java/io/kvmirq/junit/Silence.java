/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.IntSupplier;

/**
 * Ends a run of a test in which nothing calls the kernel any more, as after a wake-up that was made to fail. It interrupts
 * the thread of the test. A run may last as long as it makes calls.
 */
final class Silence implements AutoCloseable {
    private final Thread test = Thread.currentThread();
    private final CountDownLatch over = new CountDownLatch(1);
    private final String name;
    private final long millis;
    private final IntSupplier calls;
    private final Runnable kick;
    /** Guarded by this. */
    private Optional<String> found = Optional.empty();

    /** {@code millis} without one of the run's {@code calls} end it; {@code kick} ends what an interrupt does not. */
    Silence(String name, long millis, IntSupplier calls, Runnable kick) {
        this.name = name;
        this.millis = millis;
        this.calls = calls;
        this.kick = kick;
        Thread watcher = new Thread(this::watch, "kvmirq-junit-silence");
        watcher.setDaemon(true);
        watcher.start();
    }

    private void watch() {
        int before = -1;
        int now = calls.getAsInt();
        try {
            while (now != before) {
                if (over.await(millis, TimeUnit.MILLISECONDS)) {
                    return;
                }
                before = now;
                now = calls.getAsInt();
            }
        } catch (InterruptedException e) {
            return;
        }
        synchronized (this) {
            if (over.getCount() == 0) {
                return;
            }
            found = Optional.of("nothing called the kernel for " + millis / 1000 + " s, and the run was interrupted"
                    + Place.of(test).map(" at "::concat).orElse(""));
            test.interrupt();
        }
        kick.run();
        warnIfDeaf();
    }

    /** A call of the kernel may go on after an interrupt of Java. */
    private void warnIfDeaf() {
        try {
            if (!over.await(millis, TimeUnit.MILLISECONDS)) {
                System.getLogger("io.kvmirq")
                        .log(System.Logger.Level.WARNING, name + " " + found().orElseThrow() + ", but goes on");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** The sentence about a run that was interrupted. */
    synchronized Optional<String> found() {
        return found;
    }

    @Override
    public synchronized void close() {
        over.countDown();
        if (found.isPresent()) {
            Thread.interrupted();
        }
    }
}
