/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.uapi.Epoll;
import io.kvmirq.uapi.IoUring;
import io.kvmirq.uapi.IoUring.CqOffsets;
import io.kvmirq.uapi.IoUring.Cqe;
import io.kvmirq.uapi.IoUring.GeteventsArg;
import io.kvmirq.uapi.IoUring.Params;
import io.kvmirq.uapi.IoUring.SqOffsets;
import io.kvmirq.uapi.IoUring.Sqe;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/**
 * An io_uring of polls, used by the thread that called {@link #enable}. Completions are made only while that thread is
 * in {@link #enter} (IORING_SETUP_DEFER_TASKRUN, since Linux 6.1): signals do not interrupt it elsewhere. Not
 * thread-safe.
 *
 * <p>Source: io_uring/io_uring.c, io_uring/poll.c.
 */
final class Uring implements AutoCloseable {
    private static final int MOST_SUBMISSIONS = 256;

    private static final int EINTR = -Errno.EINTR.number();
    private static final int EAGAIN = -Errno.EAGAIN.number();
    private static final int EBUSY = -Errno.EBUSY.number();
    /** The result of a wait whose time is over. */
    private static final int ETIME = -62;

    private final Calls calls;
    private final Libc libc;
    private final Fd fd;
    private final int submissions;
    private final long ringsAt;
    private final long ringsSize;
    private final long entriesAt;
    private final long entriesSize;
    private final ByteBuffer rings;
    private final ByteBuffer entries;
    private final int submissionHead;
    private final int submissionTail;
    private final int submissionFlags;
    private final int completionHead;
    private final int completionTail;
    private final int completions;
    private final int completionMask;
    /** The argument of a wait with a limit, followed by the limit. */
    private final ByteBuffer wait = Buffers.allocate(GeteventsArg.SIZE + Uapi.Timespec.SIZE);

    private final long waitAt;
    /** Our copies of the submission ring's tail and head. Only {@link #enter} shares them with the kernel. */
    private int tail;

    private int head;

    /**
     * A ring that is not enabled yet.
     *
     * @param completions room for them, a power of two
     * @throws KernelException if the kernel forbids io_uring here or is older than 6.1; EMFILE, ENFILE, ENOMEM
     */
    Uring(Kernel kernel, int completions) {
        this.calls = kernel.calls();
        this.libc = kernel.libc();
        this.submissions = Math.min(MOST_SUBMISSIONS, completions);
        ByteBuffer parameters = Buffers.allocate(Params.SIZE);
        parameters.putInt(Params.CQ_ENTRIES, completions);
        parameters.putInt(
                Params.FLAGS,
                IoUring.IORING_SETUP_CQSIZE
                        | IoUring.IORING_SETUP_R_DISABLED
                        | IoUring.IORING_SETUP_SINGLE_ISSUER
                        | IoUring.IORING_SETUP_DEFER_TASKRUN);
        try (Undo undo = new Undo()) {
            this.fd = calls.made("io_uring", () -> setUp(parameters), this::failure, made -> made);
            undo.add(fd::close);
            int queue = parameters.getInt(Params.SQ_OFF + SqOffsets.ARRAY);
            int completed = parameters.getInt(Params.CQ_OFF + CqOffsets.CQES);
            this.completionMask = parameters.getInt(Params.CQ_ENTRIES) - 1;
            this.ringsSize = Math.max(queue + submissions * Integer.BYTES, completed + (completionMask + 1) * Cqe.SIZE);
            this.ringsAt = map(ringsSize, IoUring.IORING_OFF_SQ_RING);
            undo.add(() -> libc.munmap(ringsAt, ringsSize));
            Mapping.keepToItself(calls, fd.toString(), ringsAt, ringsSize);
            this.entriesSize = (long) submissions * Sqe.SIZE;
            this.entriesAt = map(entriesSize, IoUring.IORING_OFF_SQES);
            undo.add(() -> libc.munmap(entriesAt, entriesSize));
            Mapping.keepToItself(calls, fd.toString(), entriesAt, entriesSize);
            this.rings = libc.view(ringsAt, ringsSize);
            this.entries = libc.view(entriesAt, entriesSize);
            this.submissionHead = parameters.getInt(Params.SQ_OFF + SqOffsets.HEAD);
            this.submissionTail = parameters.getInt(Params.SQ_OFF + SqOffsets.TAIL);
            this.submissionFlags = parameters.getInt(Params.SQ_OFF + SqOffsets.FLAGS);
            this.completionHead = parameters.getInt(Params.CQ_OFF + CqOffsets.HEAD);
            this.completionTail = parameters.getInt(Params.CQ_OFF + CqOffsets.TAIL);
            this.completions = completed;
            this.waitAt = libc.addressOf(wait);
            wait.putLong(GeteventsArg.TS, waitAt + GeteventsArg.SIZE);
            for (int i = 0; i < submissions; i++) {
                rings.putInt(queue + i * Integer.BYTES, i);
            }
            undo.keep();
        }
    }

    private int setUp(ByteBuffer parameters) {
        try {
            return (int) libc.syscall(SystemCall.IO_URING_SETUP, submissions, libc.addressOf(parameters), 0, 0);
        } finally {
            Reference.reachabilityFence(parameters);
        }
    }

    private long map(long length, long offset) {
        long result = libc.mmap(length, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_SHARED, fd.number(), offset);
        if (result < 0) {
            throw calls.failure(result, KernelCall.MMAP, Set.of(), () -> fd + " length=" + length);
        }
        return result;
    }

    /** Gives the ring to this thread. */
    void enable() {
        int result = (int)
                libc.syscall(SystemCall.IO_URING_REGISTER, fd.number(), IoUring.IORING_REGISTER_ENABLE_RINGS, 0, 0);
        if (result < 0) {
            throw failure(result);
        }
    }

    KernelException failure(int result) {
        return calls.failure(result, KernelCall.IO_URING, Set.of(), () -> "");
    }

    // Submissions. The caller makes sure that there is room.

    int room() {
        return submissions - (tail - head);
    }

    /** @param flags 0 for a poll that completes once, when the file is readable */
    void poll(int file, long data, int flags) {
        int at = next(IoUring.IORING_OP_POLL_ADD, file, data);
        entries.putInt(at + Sqe.LEN, flags);
        entries.putInt(at + Sqe.POLL32_EVENTS, Epoll.EPOLLIN);
    }

    /** Cancels all polls of {@code target}. The cancellation completes only if there is no such poll. */
    void cancel(long target, long data) {
        int at = next(IoUring.IORING_OP_ASYNC_CANCEL, -1, data);
        entries.put(at + Sqe.FLAGS, IoUring.IOSQE_CQE_SKIP_SUCCESS);
        entries.putLong(at + Sqe.ADDR, target);
        entries.putInt(at + Sqe.CANCEL_FLAGS, IoUring.IORING_ASYNC_CANCEL_ALL);
    }

    private int next(byte operation, int file, long data) {
        int at = (tail++ & submissions - 1) * Sqe.SIZE;
        for (int i = 0; i < Sqe.SIZE; i += Long.BYTES) {
            entries.putLong(at + i, 0);
        }
        entries.put(at + Sqe.OPCODE, operation);
        entries.putInt(at + Sqe.FD, file);
        entries.putLong(at + Sqe.USER_DATA, data);
        return at;
    }

    /** Submits all, and does not wait. */
    void submit() {
        while (tail != head) {
            int before = head;
            int result = enter(0, 0);
            if (head == before) {
                throw failure(result < 0 ? result : EAGAIN);
            }
        }
    }

    /**
     * Submits all and waits for a completion. Allocates nothing.
     *
     * @param timeoutNanos negative: without limit
     */
    void await(long timeoutNanos) {
        int result = enter(timeoutNanos == 0 ? 0 : 1, timeoutNanos);
        if (result < 0 && result != EINTR && result != ETIME && result != EBUSY && result != EAGAIN) {
            throw failure(result);
        }
    }

    /** Only in this call, in this thread, the kernel reads and writes the rings. So plain accesses are enough. */
    private int enter(int complete, long timeoutNanos) {
        if (tail != head) {
            rings.putInt(submissionTail, tail);
        }
        boolean timed = complete != 0 && timeoutNanos >= 0;
        if (timed) {
            wait.putLong(GeteventsArg.SIZE + Uapi.Timespec.TV_SEC, TimeUnit.NANOSECONDS.toSeconds(timeoutNanos));
            wait.putLong(GeteventsArg.SIZE + Uapi.Timespec.TV_NSEC, timeoutNanos % 1_000_000_000);
        }
        try {
            return libc.ioUringEnter(
                    fd.number(),
                    tail - head,
                    complete,
                    IoUring.IORING_ENTER_GETEVENTS | (timed ? IoUring.IORING_ENTER_EXT_ARG : 0),
                    timed ? waitAt : 0,
                    timed ? GeteventsArg.SIZE : 0);
        } finally {
            Reference.reachabilityFence(wait);
            if (tail != head) {
                head = rings.getInt(submissionHead);
            }
        }
    }

    // Completions

    /** Whether completions wait in the kernel for room in the ring. As long as some do, each poll that completes ends. */
    boolean overflows() {
        return (rings.getInt(submissionFlags) & IoUring.IORING_SQ_CQ_OVERFLOW) != 0;
    }

    /** The position of the oldest completion that was not taken yet. */
    int first() {
        return rings.getInt(completionHead);
    }

    /** The position after the youngest completion. */
    int last() {
        return rings.getInt(completionTail);
    }

    long data(int completion) {
        return rings.getLong(at(completion) + Cqe.USER_DATA);
    }

    int result(int completion) {
        return rings.getInt(at(completion) + Cqe.RES);
    }

    /** Whether the request did not fail and will complete again. */
    boolean hasMore(int completion) {
        return (rings.getInt(at(completion) + Cqe.FLAGS) & IoUring.IORING_CQE_F_MORE) != 0;
    }

    private int at(int completion) {
        return completions + (completion & completionMask) * Cqe.SIZE;
    }

    /** Gives the kernel the room of all completions before a position. */
    void taken(int completion) {
        rings.putInt(completionHead, completion);
    }

    @Override
    public void close() {
        libc.munmap(entriesAt, entriesSize);
        libc.munmap(ringsAt, ringsSize);
        fd.close();
    }

    @Override
    public String toString() {
        return fd.toString();
    }
}
