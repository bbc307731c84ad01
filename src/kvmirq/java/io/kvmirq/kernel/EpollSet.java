/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
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
 * The epoll set of an {@link EventLoop}.
 *
 * <p>Source: fs/eventpoll.c.
 */
final class EpollSet implements ReadySet {
    /** The most events of one wait. If more are ready, the kernel reports the others first at the next wait. */
    static final int BATCH = 256;

    private static final int EINTR = -Errno.EINTR.number();
    private static final int EEXIST = -Errno.EEXIST.number();

    private final Calls calls;
    private final Libc libc;
    private final Fd fd;
    /** Guarded by the loop's lock. */
    private final ByteBuffer entry = Buffers.allocate(Epoll.SIZE);
    /** Used by {@link #force} without the loop's lock. All its callers write the same bytes. */
    private final ByteBuffer forced = Buffers.allocate(Epoll.SIZE);

    private final ByteBuffer reported = Buffers.allocate(BATCH * Epoll.SIZE);
    /** The address of {@link #reported}, kept because asking for it takes a tenth of the time of a wait. */
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

    @Override
    public void add(Fd file, long data, int events) {
        int result = control(Epoll.EPOLL_CTL_ADD, file, events, data);
        if (result == EEXIST) {
            throw new KernelException(
                    KernelCall.EPOLL_CTL.label(),
                    operands(file),
                    Errno.EEXIST,
                    "it is registered with this event loop already: close that registration first, or use another"
                            + " eventfd");
        }
        check(result, file);
    }

    @Override
    public void mute(Fd file, long data, int events) {
        listen(file, data, 0);
    }

    @Override
    public void unmute(Fd file, long data, int events) {
        check(control(Epoll.EPOLL_CTL_MOD, file, events, data), file);
    }

    /**
     * Makes each wait report the entry of an eventfd until {@link #listen}, whatever its count. It waits for EPOLLOUT, and an
     * eventfd can be written at any time. Needs no lock, so give it the same eventfd always.
     */
    void force(Fd file, long data) {
        control(forced, Epoll.EPOLL_CTL_MOD, file, Epoll.EPOLLOUT, data);
    }

    /** Changes the events of an entry. Fails only if code outside the library closed the descriptor. */
    void listen(Fd file, long data, int events) {
        control(Epoll.EPOLL_CTL_MOD, file, events, data);
    }

    @Override
    public void remove(Fd file, long data) {
        libc.epollCtl(fd.number(), Epoll.EPOLL_CTL_DEL, file.number(), 0);
    }

    private int control(int operation, Fd file, int events, long data) {
        return control(entry, operation, file, events, data);
    }

    private int control(ByteBuffer entry, int operation, Fd file, int events, long data) {
        entry.putInt(Epoll.EVENTS, events).putLong(Epoll.DATA, data);
        try {
            return libc.epollCtl(fd.number(), operation, file.number(), libc.addressOf(entry));
        } finally {
            Reference.reachabilityFence(entry);
        }
    }

    private void check(int result, Fd file) {
        calls.check(result, KernelCall.EPOLL_CTL, Set.of(), () -> operands(file));
    }

    private String operands(Fd file) {
        return "epoll=" + fd.number() + " " + file;
    }

    @Override
    public int await(long timeoutNanos) {
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

    @Override
    public boolean mayHaveMore() {
        return false; // if more than BATCH events are ready, a wait has reported some
    }

    @Override
    public long data(int index) {
        return reported.getLong(index * Epoll.SIZE + Epoll.DATA);
    }
}
