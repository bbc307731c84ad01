/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import org.jspecify.annotations.Nullable;

/** A thread that switches a route there and back until it is closed. */
final class Rerouter implements AutoCloseable {
    private final Thread thread;
    private volatile boolean stopping;
    private volatile long changes;
    private volatile @Nullable RuntimeException failure;

    Rerouter(Runnable there, Runnable back) {
        thread = new Thread(() -> work(there, back), "rerouter");
        thread.setDaemon(true);
        thread.start();
    }

    private void work(Runnable there, Runnable back) {
        try {
            for (long i = 1; !stopping; i++) {
                (i % 2 == 0 ? back : there).run();
                changes = i;
            }
        } catch (Throwable e) {
            failure = SelftestFailure.ofThread("changing the route failed", e);
        }
    }

    void requireHealthy() {
        @Nullable RuntimeException e = failure;
        if (e != null) {
            throw e;
        }
    }

    long changes() {
        return changes;
    }

    /** Stops the thread and returns the number of route changes. Throws as {@link #requireHealthy}. */
    long end() {
        close();
        requireHealthy();
        return changes;
    }

    /** Stops the thread. No route change follows. Idempotent. */
    @Override
    public void close() {
        stopping = true;
        try {
            thread.join();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
