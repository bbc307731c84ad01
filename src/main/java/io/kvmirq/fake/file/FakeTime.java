/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.IntSupplier;

/**
 * Whose turn it is: the kernel's lock, time, and those who wait for something to change or for time to pass. The lock is
 * fair: a thread that makes call after call does not keep other threads out, as in a real kernel. Everything except {@link
 * #enter} is called with the lock held.
 */
public final class FakeTime implements AutoCloseable {
    private final ReentrantLock lock = new ReentrantLock(true);
    private final Condition change = lock.newCondition();
    private final boolean virtual;
    private long virtualNanos;
    private int waiting;

    public FakeTime(boolean virtual) {
        this.virtual = virtual;
    }

    /** Takes the lock, until {@link #close}. */
    public void enter() {
        lock.lock();
    }

    @Override
    public void close() {
        lock.unlock();
    }

    /** In nanoseconds, from any beginning. */
    public long now() {
        return virtual ? virtualNanos : System.nanoTime();
    }

    public void pass(Duration passed) {
        if (!virtual) {
            throw new IllegalStateException("this fake kernel keeps the machine's time: make it with inVirtualTime");
        }
        if (passed.isNegative()) {
            throw new IllegalArgumentException("time passes forwards, not by " + passed);
        }
        virtualNanos += passed.toNanos();
        changed();
    }

    public int waiting() {
        return waiting;
    }

    /** Something a waiting call may be waiting for. */
    public void changed() {
        change.signalAll();
    }

    /** Lets other calls in until something changes. */
    public void awaitChange() {
        awaitChange(Long.MAX_VALUE);
    }

    /**
     * As in a real kernel, where it is no signal, an interrupt of the thread ends no waiting.
     *
     * @param nanos to wait at most, of the machine's time; {@link Long#MAX_VALUE} for ever
     */
    @SuppressWarnings("WaitNotInLoop") // every caller looks again in a loop of its own
    private void awaitChange(long nanos) {
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

    /**
     * Lets other calls in until an attempt brings something or the time is over.
     *
     * @param nanos to wait at most; {@link Long#MAX_VALUE} for ever
     * @return what the last attempt brought
     */
    public int await(long nanos, IntSupplier attempt) {
        long start = now();
        while (true) {
            int result = attempt.getAsInt();
            long left = nanos - (now() - start);
            if (result != 0 || left <= 0) {
                return result;
            }
            awaitChange(nanos == Long.MAX_VALUE ? nanos : left);
        }
    }

    /** Lets waiting threads take the lock once; a long loop calls it. */
    public void letOthersIn() {
        if (lock.hasQueuedThreads()) {
            lock.unlock();
            lock.lock();
        }
    }
}
