/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Whose turn it is: the kernel's lock, time, and those who wait for something to change or for time to pass. The lock is
 * fair: a thread that calls and calls keeps nobody else out, as it does not in a real kernel. Everything but {@link
 * #enter} is called with the lock held.
 */
final class FakeTime implements AutoCloseable {
    private final ReentrantLock lock = new ReentrantLock(true);
    private final Condition change = lock.newCondition();
    private final boolean virtual;
    private long virtualNanos;
    private int waiting;

    FakeTime(boolean virtual) {
        this.virtual = virtual;
    }

    /** Takes the lock, until {@link #close}. */
    void enter() {
        lock.lock();
    }

    @Override
    public void close() {
        lock.unlock();
    }

    /** In nanoseconds, from any beginning. */
    long now() {
        return virtual ? virtualNanos : System.nanoTime();
    }

    void pass(Duration passed) {
        if (!virtual) {
            throw new IllegalStateException("this fake kernel keeps the machine's time: make it with inVirtualTime");
        }
        if (passed.isNegative()) {
            throw new IllegalArgumentException("time passes forwards, not by " + passed);
        }
        virtualNanos += passed.toNanos();
        changed();
    }

    int waiting() {
        return waiting;
    }

    /** Something a waiting call may be waiting for. */
    void changed() {
        change.signalAll();
    }

    /** Lets other calls in until something changes. */
    void awaitChange() {
        awaitChange(Long.MAX_VALUE);
    }

    /**
     * As in a real kernel, where it is no signal, an interrupt of the thread ends no waiting.
     *
     * @param nanos to wait at most, of the machine's time; {@link Long#MAX_VALUE} for ever
     */
    @SuppressWarnings("WaitNotInLoop") // every caller looks again in a loop of its own
    void awaitChange(long nanos) {
        waiting++;
        boolean interrupted = Thread.interrupted();
        try {
            if (virtual || nanos == Long.MAX_VALUE) {
                change.awaitUninterruptibly();
            } else {
                change.await(nanos, TimeUnit.NANOSECONDS);
            }
        } catch (InterruptedException e) {
            interrupted = true;
        } finally {
            waiting--;
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** For who goes on for long: those whose turn it is come first. */
    void letOthersIn() {
        if (lock.hasQueuedThreads()) {
            lock.unlock();
            lock.lock();
        }
    }
}
