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
 * The epoll set of an {@link EventLoop}. Changes need the loop's lock. Only the loop's dispatcher calls {@link #await}
 * and {@link #data}. The caller keeps the set open during each call.
 *
 * <p>Source: fs/eventpoll.c.
 */
final class EpollSet implements AutoCloseable {
    /** The maximum number of events per wait. If more are ready, the next wait reports the others first. */
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
    /** The address of {@link #reported}, cached because looking it up takes a tenth of the time of a wait. */
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
     * @param data the value of {@link #data} for this entry
     * @param events the epoll events, or 0 to report none until {@link #unmute}
     */
    void add(Fd file, long data, int events) {
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

    /** Makes waits report the entry again, at once if it is ready. */
    void unmute(Fd file, long data, int events) {
        check(control(Epoll.EPOLL_CTL_MOD, file, events, data), file);
    }

    /**
     * Makes each wait report an eventfd's entry until {@link #listen}, whatever its count. This waits for EPOLLOUT,
     * because an eventfd is writable unless its count is maximal. Takes no lock, so always pass the same eventfd.
     */
    void force(Fd file, long data) {
        control(forced, Epoll.EPOLL_CTL_MOD, file, Epoll.EPOLLOUT, data);
    }

    /**
     * Changes an entry's events; 0 keeps the entry but reports nothing. Fails only if code outside the library closed
     * the descriptor.
     */
    void listen(Fd file, long data, int events) {
        control(Epoll.EPOLL_CTL_MOD, file, events, data);
    }

    /** Fails only if code outside the library closed the descriptor. */
    void remove(Fd file) {
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

    /**
     * Waits for entries. Allocates nothing.
     *
     * @param timeoutNanos the timeout in nanoseconds; negative for no limit
     * @return the number of ready entries; 0 after the timeout or a signal
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

    /** Rounded up, so that a wait is never shorter than requested. */
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

    /** The data of an entry that the last {@link #await} reported as ready. */
    long data(int index) {
        return reported.getLong(index * Epoll.SIZE + Epoll.DATA);
    }
}
