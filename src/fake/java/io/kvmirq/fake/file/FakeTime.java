/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.util.Comparator;
import java.util.PriorityQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.IntSupplier;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The fake kernel's lock, clock and timers, and its calls that wait for a change or a timeout. The lock is fair: a
 * thread that makes one call after another does not starve other threads, as in a real kernel. The caller must hold the
 * lock, unless a method says that it takes the lock.
 */
public final class FakeTime implements AutoCloseable {
    private static final long SECOND_NANOS = 1_000_000_000;
    private static final long LONGEST_WAIT_SECONDS = 1L << 32;

    private final ReentrantLock lock = new ReentrantLock(true);
    private final Condition change = lock.newCondition();
    private final PriorityQueue<Timer> timers = new PriorityQueue<>(Comparator.comparingLong(Timer::at));
    private final boolean virtual;
    private long virtualNanos;
    private int waiting;
    private final Ledger ledger;

    public record Timer(long at, Runnable action) {}

    /** @param ledger is notified of the end of each change, and of calls that wait */
    public FakeTime(boolean virtual, Ledger ledger) {
        this.virtual = virtual;
        this.ledger = ledger;
    }

    /** Takes the lock (until {@link #close}), and runs due timers. If a timer throws, the lock is released again. */
    public void enter() {
        lock.lock();
        boolean entered = timers.isEmpty();
        try {
            if (!entered) {
                runTimers();
                entered = true;
            }
        } finally {
            if (!entered) {
                lock.unlock();
            }
        }
    }

    @Override
    public void close() {
        lock.unlock();
    }

    public <T> T locked(Supplier<T> action) {
        enter();
        try {
            return action.get();
        } finally {
            lock.unlock();
        }
    }

    /** Takes the lock, runs an action, and then wakes all waiting calls. */
    public <T> T changing(Supplier<T> action) {
        return locked(() -> {
            try {
                T result = action.get();
                changed();
                return result;
            } finally {
                ledger.end();
            }
        });
    }

    /** Runs an action like {@link #changing(Supplier)}, without a result. */
    public void changing(Runnable action) {
        changing(() -> {
            action.run();
            return true;
        });
    }

    /** Returns the time in nanoseconds since an arbitrary start. */
    public long now() {
        return virtual ? virtualNanos : System.nanoTime();
    }

    /** Returns the time of day in nanoseconds since 1970. Virtual time begins at 0, in 1970. */
    public long ofDay() {
        if (virtual) {
            return virtualNanos;
        }
        Instant now = Instant.now();
        return now.getEpochSecond() * SECOND_NANOS + now.getNano();
    }

    /** Returns the nanoseconds of a {@code struct timespec}, at most the longest possible wait; -1 if it is invalid. */
    public static long nanos(ByteBuffer timespec) {
        long seconds = timespec.getLong(Uapi.Timespec.TV_SEC);
        long part = timespec.getLong(Uapi.Timespec.TV_NSEC);
        boolean valid = seconds >= 0 && Long.compareUnsigned(part, SECOND_NANOS) < 0;
        return valid ? Math.min(seconds, LONGEST_WAIT_SECONDS) * SECOND_NANOS + part : -1;
    }

    public void pass(Duration passed) {
        if (!virtual) {
            throw new IllegalStateException("this fake kernel keeps the machine's time: create it with inVirtualTime");
        }
        if (passed.isNegative()) {
            throw new IllegalArgumentException("time passes forwards, not by " + passed);
        }
        long end = virtualNanos + passed.toNanos();
        for (Timer next = due(end); next != null; next = due(end)) {
            virtualNanos = Math.max(virtualNanos, next.at());
            run(next);
        }
        virtualNanos = end;
        changed();
    }

    /** Runs an action with the lock when a delay is over, in {@link #pass} or any thread's call; it must not throw. */
    public Timer after(Duration delay, Runnable action) {
        Timer timer = new Timer(now() + delay.toNanos(), action);
        timers.add(timer);
        changed();
        return timer;
    }

    /** Cancels a timer of {@link #after} whose action has not run. */
    public void cancel(Timer timer) {
        timers.remove(timer);
    }

    /** Runs due timers. Reads the clock only if there is a timer, because that takes half as long as a call. */
    private void runTimers() {
        while (!timers.isEmpty()) {
            Timer next = due(now());
            if (next == null) {
                return;
            }
            run(next);
        }
    }

    /** The first timer that is due; null while an action of a timer runs, because it may take the lock again. */
    private @Nullable Timer due(long time) {
        Timer next = timers.peek();
        return lock.getHoldCount() == 1 && next != null && next.at() <= time ? next : null;
    }

    private void run(Timer timer) {
        timers.remove(timer);
        timer.action().run();
        changed();
    }

    /** The number of timers whose action has not run yet. */
    public int timers() {
        return timers.size();
    }

    public int waiting() {
        return waiting;
    }

    /** Wakes all waiting calls, so that they check their condition again. */
    public void changed() {
        if (waiting > 0) {
            change.signalAll();
        }
    }

    /** Releases the lock until {@link #changed} is called. */
    public void awaitChange() {
        awaitChange(Long.MAX_VALUE);
    }

    /**
     * Releases the lock until a change; {@link Long#MAX_VALUE} is no limit. {@link Thread#interrupt} does not end it.
     */
    @SuppressWarnings("WaitNotInLoop") // every caller checks its condition in a loop
    private void awaitChange(long nanos) {
        Dropped.Call call = ledger.call();
        waiting++;
        boolean interrupted = Thread.interrupted();
        Timer next = timers.peek();
        long limit = next == null ? nanos : Math.min(nanos, next.at() - now());
        try {
            if (virtual || limit == Long.MAX_VALUE) {
                change.awaitUninterruptibly();
            } else {
                change.await(limit, TimeUnit.NANOSECONDS);
            }
        } catch (InterruptedException e) {
            interrupted = true;
        } finally {
            waiting--;
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
        runTimers();
        ledger.resume(call);
    }

    /** Repeats an attempt after each change until its result is not 0 or the time is over. Returns the last result. */
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

    /** Lets threads that wait for the fake kernel's lock take it once, and runs due timers. Call this method in a long loop. */
    public void letOthersIn() {
        if (lock.hasQueuedThreads()) {
            unlocked(() -> true);
        } else {
            runTimers();
        }
    }

    /** Runs a long action without the lock, as if the call were preempted, and then due timers. */
    public <T extends @Nullable Object> T unlocked(Supplier<T> action) {
        Dropped.Call call = ledger.call();
        lock.unlock();
        try {
            return action.get();
        } finally {
            lock.lock();
            runTimers();
            ledger.resume(call);
        }
    }
}
