/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.KernelException;
import io.kvmirq.uapi.Epoll;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Waits for each doorbell by a multishot poll in a ring, and for all other eventfds by an epoll set, which the ring
 * polls, too. The kernel cancels the polls of a thread that ends, so only the dispatcher submits polls. Another thread
 * notes its change and wakes the dispatcher. If another thread becomes the dispatcher, it makes a new ring.
 *
 * <p>The epoll set has an entry for each doorbell, too. The entry reports nothing, and its creation fails for a file that
 * cannot be polled. If the ring fails, these entries replace it for good.
 *
 * <p>Source: io_uring/poll.c.
 */
final class UringSet implements ReadySet {
    static final int COMPLETIONS = 1024;

    private static final int ECANCELED = -125;
    // In the ring a doorbell has the data of its entry, which is above 0.
    private static final long EPOLL = -1;

    private final Kernel kernel;
    private final EpollSet epoll;
    private final Fd wake;
    private final long wakeData;
    private final ReentrantLock lock;
    private final int completions;

    // Guarded by the lock

    /** The data to report for the doorbell of each slot, or 0. The slot is the low half of the data. */
    private long[] wanted = new long[0];

    private @Nullable Fd[] files = new Fd[0];
    /** The slots whose polls must begin again or end. */
    private final BitSet changes = new BitSet();

    /** The dispatcher writes this and then reads {@link #changed}. A thread that changes something does the reverse. */
    private final AtomicBoolean waiting = new AtomicBoolean();

    private volatile boolean changed;
    /** Whether a change made the epoll set report {@link #wake}. */
    private boolean forced;

    // Used by the dispatcher alone

    private @Nullable Uring ring;
    private @Nullable Thread owner;
    private volatile Optional<KernelException> refused = Optional.empty();
    private final RingPolls polls = new RingPolls();
    private boolean epollArmed;
    /** Whether {@link #await} took completions. The kernel makes some at once, at most 20 since Linux 6.13, and more later. */
    private boolean taken;
    /** The unexpected error of a completion, or 0. */
    private int failed;

    private final long[] reported;

    /** @param wake an eventfd of {@code epoll} under {@code wakeData} */
    UringSet(Kernel kernel, EpollSet epoll, Fd wake, long wakeData, ReentrantLock lock, int completions) {
        this.kernel = kernel;
        this.epoll = epoll;
        this.wake = wake;
        this.wakeData = wakeData;
        this.lock = lock;
        this.completions = completions;
        this.reported = new long[completions + EpollSet.BATCH];
        try {
            this.ring = new Uring(kernel, completions);
        } catch (KernelException e) {
            this.refused = Optional.of(e);
        }
    }

    /** The reason why epoll is used instead of a ring. */
    Optional<KernelException> refused() {
        return refused;
    }

    /** Whether the ring waits for these events. Without a ring, it never does. */
    private boolean rings(int events) {
        return (events & Epoll.EPOLLET) != 0 && refused.isEmpty();
    }

    @Override
    public void add(Fd file, long data, int events) {
        boolean rings = rings(events);
        if (rings) {
            makeRoom((int) data);
        }
        epoll.add(file, data, rings ? 0 : events);
        if (rings) {
            change(data, file);
        }
    }

    private void makeRoom(int slot) {
        if (slot >= wanted.length) {
            files = Arrays.copyOf(files, 2 * slot + 16);
            changes.set(files.length);
            changes.clear(files.length);
            wanted = Arrays.copyOf(wanted, files.length);
        }
    }

    @Override
    public void mute(Fd file, long data, int events) {
        if (rings(events)) {
            change(data, null);
        } else {
            epoll.mute(file, data, events);
        }
    }

    @Override
    public void unmute(Fd file, long data, int events) {
        if (rings(events)) {
            change(data, file);
        } else {
            epoll.unmute(file, data, events);
        }
    }

    @Override
    public void remove(Fd file, long data) {
        epoll.remove(file, data);
        if ((int) data < wanted.length) {
            change(data, null);
        }
    }

    private void change(long data, @Nullable Fd file) {
        int slot = (int) data;
        wanted[slot] = file == null ? 0 : data;
        files[slot] = file;
        changes.set(slot);
        changed = true;
        if (waiting.get()) { // also if it was forced before: the loop may have taken it back
            forced = true;
            epoll.force(wake, wakeData);
        }
    }

    // Called by the dispatcher alone

    @Override
    public int await(long timeoutNanos) {
        waiting.set(true);
        taken = false;
        try {
            Uring now = prepare();
            if (now != null) {
                now.await(changed ? 0 : timeoutNanos);
                return take(now);
            }
        } catch (KernelException e) {
            useEpoll(e);
        } finally {
            waiting.setRelease(false);
        }
        return takeEpoll(0, timeoutNanos);
    }

    /** The ring after the noted changes, or after as many as it has room for. Null if epoll is used. */
    private @Nullable Uring prepare() {
        Uring now = ring;
        if (now == null) {
            return null;
        }
        Thread current = Thread.currentThread();
        if (owner != current) {
            now = owner == null ? now : replace(now);
            now.enable();
            owner = current;
        }
        if (changed && !now.overflows()) {
            apply(now);
        }
        if (!epollArmed) {
            now.poll(epoll.fd().number(), EPOLL, 0);
            epollArmed = true;
        }
        return now;
    }

    private Uring replace(Uring old) {
        Uring made = new Uring(kernel, completions);
        ring = made;
        old.close();
        epollArmed = false;
        polls.clear();
        lock.lock();
        try {
            changes.set(0, wanted.length);
            changed = true;
        } finally {
            lock.unlock();
        }
        return made;
    }

    /**
     * Submits the changes. It holds the lock, so no descriptor is closed meanwhile. The poll of a doorbell that has rung
     * completes at once, so no more polls begin than the ring has room for completions.
     */
    private void apply(Uring now) {
        lock.lock();
        try {
            polls.makeRoom(wanted.length);
            int slot = changes.nextSetBit(0);
            for (int left = completions / 2; left > 0 && slot >= 0; left--) {
                if (now.room() < RingPolls.SUBMISSIONS) {
                    now.submit();
                }
                changes.clear(slot);
                polls.replace(now, slot, files[slot], wanted[slot]);
                slot = changes.nextSetBit(slot + 1);
            }
            changed = slot >= 0;
            now.submit();
        } finally {
            lock.unlock();
        }
    }

    private int take(Uring now) {
        int count = 0;
        int last = now.last();
        int next = now.first();
        for (; next != last; next++) {
            long data = now.data(next);
            if (now.hasMore(next)) {
                reported[count++] = data;
            } else if (data != RingPolls.CANCELLATION && ended(data, now.result(next))) {
                reported[count++] = data;
            }
        }
        taken = next != now.first();
        now.taken(next);
        if (failed < 0) {
            useEpoll(now.failure(failed));
        }
        return epollArmed ? count : takeEpoll(count, 0);
    }

    /** @return whether to report a doorbell */
    private boolean ended(long data, int result) {
        if (result < 0 && result != ECANCELED) {
            failed = result;
        }
        if (data == EPOLL) {
            epollArmed = false;
            return false;
        }
        if (polls.ended(data)) {
            again((int) data);
        }
        return result > 0;
    }

    /**
     * Begins the poll of a slot again, which ended without a successor. The ring had no room for its completion, or the
     * poll was cancelled for good: then nothing changes.
     */
    private void again(int slot) {
        lock.lock();
        try {
            changes.set(slot);
            changed = true;
        } finally {
            lock.unlock();
        }
    }

    private int takeEpoll(int count, long timeoutNanos) {
        int ready = epoll.await(timeoutNanos);
        for (int i = 0; i < ready; i++) {
            long data = epoll.data(i);
            if (data == wakeData) {
                calm();
            }
            reported[count + i] = data;
        }
        return count + ready;
    }

    private void calm() {
        lock.lock();
        try {
            if (forced) {
                forced = false;
                epoll.listen(wake, wakeData, Epoll.EPOLLIN);
            }
        } finally {
            lock.unlock();
        }
    }

    private void useEpoll(KernelException cause) {
        lock.lock();
        try {
            refused = Optional.of(cause);
            for (int slot = 0; slot < files.length; slot++) {
                Fd file = files[slot];
                if (file != null) {
                    epoll.listen(file, wanted[slot], Epoll.EPOLLIN | Epoll.EPOLLET);
                }
            }
            if (ring != null) {
                ring.close();
                ring = null;
            }
        } finally {
            lock.unlock();
        }
    }

    @Override
    public boolean mayHaveMore() {
        return taken || changed && ring != null;
    }

    @Override
    public long data(int index) {
        return reported[index];
    }

    @Override
    public void close() {
        if (ring != null) {
            ring.close();
        }
        epoll.close();
    }
}
