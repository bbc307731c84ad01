/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.IntSupplier;

/**
 * Interrupts a test's thread when its run has made no kernel call for a time, for example because a wake-up was made to
 * fail. A run may last as long as it makes calls.
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

    /** Ends the run if {@code calls} stays the same for {@code millis}. {@code kick} ends uninterruptible calls. */
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
                    + TestLine.of(test).map(" at "::concat).orElse(""));
            test.interrupt();
        }
        kick.run();
        warnIfDeaf();
    }

    /** Warns if the run continues, because a Java interrupt does not end every kernel call. */
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

    /** The message about the interrupted run. Empty if it was not interrupted. */
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
