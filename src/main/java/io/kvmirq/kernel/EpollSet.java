/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.uapi.Epoll;
import io.kvmirq.uapi.Uapi;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/**
 * The epoll set of an {@link EventLoop}. Changes of the set need the lock of the loop, {@link #await}
 * and {@link #data} its only dispatcher. The caller keeps {@link #fd} open during each call.
 *
 * <p>Source: fs/eventpoll.c.
 */
final class EpollSet implements AutoCloseable {
    /** Events of one wait. Where more are ready, the kernel reports the others first next time. */
    private static final int BATCH = 256;

    private static final int EINTR = -Errno.EINTR.number();

    private final Calls calls;
    private final Libc libc;
    private final Fd fd;
    private final ByteBuffer entry = Buffers.allocate(Epoll.SIZE);
    private final ByteBuffer reported = Buffers.allocate(BATCH * Epoll.SIZE);
    /** Of {@link #reported}, asked once: it is a tenth of a wait's cost. */
    private final long reportedAt;

    EpollSet(Kernel kernel) {
        this.calls = kernel.calls();
        this.libc = kernel.libc();
        this.reportedAt = libc.addressOf(reported);
        this.fd = calls.made(
                "epoll",
                () -> libc.epollCreate(Uapi.EPOLL_CLOEXEC),
                result -> calls.failure(result, KernelCall.EPOLL_CREATE, Set.of(), () -> ""),
                made -> made);
    }

    Fd fd() {
        return fd;
    }

    /**
     * @param data what {@link #data} gives for this entry
     * @param events 0 for none until {@link #unmute}
     */
    void add(Fd file, long data, int events) {
        check(control(Epoll.EPOLL_CTL_ADD, file, events, data), file);
    }

    /** Keeps the entry and reports it no more. */
    void mute(Fd file, long data) {
        // Fails only if the descriptor was closed behind our back.
        control(Epoll.EPOLL_CTL_MOD, file, 0, data);
    }

    /** Reports the entry again, at once if it is ready. */
    void unmute(Fd file, long data, int events) {
        check(control(Epoll.EPOLL_CTL_MOD, file, events, data), file);
    }

    /** Reports the entry of an eventfd from now on, whatever its count: an eventfd takes a write at any time. */
    void force(Fd file, long data) {
        control(Epoll.EPOLL_CTL_MOD, file, Epoll.EPOLLOUT, data);
    }

    /** Fails only if the descriptor was closed behind our back. */
    void remove(Fd file) {
        libc.epollCtl(fd.number(), Epoll.EPOLL_CTL_DEL, file.number(), 0);
    }

    private int control(int operation, Fd file, int events, long data) {
        entry.putInt(Epoll.EVENTS, events).putLong(Epoll.DATA, data);
        try {
            return libc.epollCtl(fd.number(), operation, file.number(), libc.addressOf(entry));
        } finally {
            Reference.reachabilityFence(entry);
        }
    }

    private void check(int result, Fd file) {
        calls.check(result, KernelCall.EPOLL_CTL, Set.of(), () -> "epoll=" + fd.number() + " " + file);
    }

    /**
     * Waits for entries. Allocates nothing.
     *
     * @param timeoutNanos negative: without limit
     * @return how many are ready; 0 after the time, and after a signal
     */
    int await(long timeoutNanos) {
        try {
            int result = libc.epollWait(fd.number(), reportedAt, BATCH, millis(timeoutNanos));
            if (result < 0 && result != EINTR) {
                throw calls.failure(result, KernelCall.EPOLL_WAIT, Set.of(), fd::toString);
            }
            return Math.max(0, result);
        } finally {
            Reference.reachabilityFence(reported);
        }
    }

    /** Rounded up, so that a wait is never shorter than asked. */
    private static int millis(long nanos) {
        return nanos < 0
                ? -1
                : (int) Math.min(
                        Integer.MAX_VALUE, TimeUnit.NANOSECONDS.toMillis(nanos) + (nanos % 1_000_000 == 0 ? 0 : 1));
    }

    @Override
    public void close() {
        fd.close();
    }

    /** The data of one of the entries that the last {@link #await} found ready. */
    long data(int index) {
        return reported.getLong(index * Epoll.SIZE + Epoll.DATA);
    }
}
