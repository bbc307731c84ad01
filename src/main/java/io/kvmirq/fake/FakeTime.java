/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** Time, and those who wait: for something to change, or for time to pass. All with the kernel's lock held. */
final class FakeTime {
    private final Object lock;
    private final boolean virtual;
    private long virtualNanos;
    private int waiting;

    /** @param lock held by every caller */
    FakeTime(Object lock, boolean virtual) {
        this.lock = lock;
        this.virtual = virtual;
    }

    /** In nanoseconds, from any beginning. */
    long now() {
        return virtual ? virtualNanos : System.nanoTime();
    }

    void pass(Duration passed) {
        if (!virtual) {
            throw new IllegalStateException("this fake kernel keeps the machine's time: make it with inVirtualTime");
        }
        virtualNanos += passed.toNanos();
        changed();
    }

    int waiting() {
        return waiting;
    }

    /** Something a waiting call may be waiting for. */
    void changed() {
        lock.notifyAll();
    }

    /** Lets other calls in until something changes. */
    void awaitChange() {
        awaitChange(0);
    }

    /** @param nanos to wait at most, of the machine's time; 0 for ever */
    @SuppressWarnings("WaitNotInLoop") // every caller looks again in a loop of its own
    void awaitChange(long nanos) {
        waiting++;
        try {
            if (virtual || nanos == 0) {
                lock.wait();
            } else {
                long millis = TimeUnit.NANOSECONDS.toMillis(nanos);
                lock.wait(millis, Math.max(1, (int) (nanos - TimeUnit.MILLISECONDS.toNanos(millis))));
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new NotModelledException("signals, which an interrupt of a waiting thread would be");
        } finally {
            waiting--;
        }
    }
}
