/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.Errno;
import io.kvmirq.backend.Libc;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.Epoll;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable.FileKind;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/**
 * Replays reads and writes of eventfds. It polls for readiness with a time limit first, so that no call blocks for
 * ever. For one thread.
 */
final class ReplayedTransfers {
    static final int MOST_DATA = 4096;
    static final int DATA_AT = Arguments.MOST;
    static final int TIMEOUT_AT = DATA_AT + MOST_DATA;
    /** The size of the argument buffer in bytes. */
    static final int ROOM = TIMEOUT_AT + Uapi.Timespec.SIZE;

    /** A bad address: the first pages of a process are never mapped. */
    static final long BAD = 0x1000;

    private static final long PATIENCE = TimeUnit.SECONDS.toNanos(Runs.PATIENCE_SECONDS);

    private final Libc libc;
    private final ReplayedFiles files;
    private final ByteBuffer argument;
    private final long address;
    /** The time in nanoseconds to wait for an event that the tape shows. */
    private long patience = PATIENCE;

    /** @param argument a buffer of {@link #ROOM} bytes */
    ReplayedTransfers(Libc libc, ReplayedFiles files, ByteBuffer argument) {
        this.libc = libc;
        this.files = files;
        this.argument = argument;
        this.address = libc.addressOf(argument);
    }

    void setPatient(boolean on) {
        patience = on ? PATIENCE : 0;
    }

    long patience() {
        return patience;
    }

    private static boolean isOfEventfd(TapeLine.Call call) {
        return FileKind.ofName(call.on()) == FileKind.EVENTFD;
    }

    /** Whether a call that returned data on the tape would return some now. */
    boolean isReady(TapeLine.Call call) {
        boolean waited = call.isRead() && isOfEventfd(call) && call.errno().isEmpty();
        return !waited
                || files.find(call.on()).filter(fd -> !is(fd, Uapi.POLLIN, 0)).isEmpty();
    }

    /** Reads the count of an eventfd, which resets it; 0 if the file is not open. */
    long readNow(TapeLine.Call call) {
        int fd = files.subject(call.on());
        return is(fd, Uapi.POLLIN, 0) && libc.read(fd, address, Long.BYTES) == Long.BYTES ? argument.getLong(0) : 0;
    }

    void add(TapeLine.Call call, long count) {
        argument.putLong(0, count);
        libc.write(files.subject(call.on()), address, Long.BYTES);
    }

    /** Waits up to {@code nanos} until an eventfd is ready: a kernel worker or a guest may signal it late. */
    private boolean is(int fd, int event, long nanos) {
        argument.putInt(Uapi.Pollfd.FD, fd)
                .putShort(Uapi.Pollfd.EVENTS, (short) event)
                .putShort(Uapi.Pollfd.REVENTS, (short) 0);
        return libc.ppoll(address, 1, timeout(nanos)) > 0;
    }

    long timeout(long nanos) {
        argument.putLong(TIMEOUT_AT + Uapi.Timespec.TV_SEC, nanos / 1_000_000_000L)
                .putLong(TIMEOUT_AT + Uapi.Timespec.TV_NSEC, nanos % 1_000_000_000L);
        return address + TIMEOUT_AT;
    }

    private static int length(TapeLine.Call call) {
        if (call.value() < 0 || call.value() > MOST_DATA) {
            throw new LackingException("a transfer of " + call.value() + " bytes");
        }
        return (int) call.value();
    }

    /** The address of the tape's bytes in the argument buffer, or a bad address if the recorded one was bad. */
    long load(Optional<ByteBuffer> bytes, TapeLine.Call call) {
        if (call.cut()) {
            throw new LackingException("the rest of an argument");
        }
        if (bytes.map(ByteBuffer::limit).orElse(0) > Arguments.MOST) {
            throw new CannotReplayException("an argument of more than " + Arguments.MOST + " bytes");
        }
        bytes.ifPresent(known -> argument.put(0, known, 0, known.limit()));
        return isBad(call) ? BAD : bytes.isPresent() ? address : 0;
    }

    /** Whether the recorded call failed because of a bad address. */
    static boolean isBad(TapeLine.Call call) {
        return call.errno().filter(Errno.EFAULT::equals).isPresent();
    }

    /** @return the result of the C function: {@code eventfd_read} and {@code eventfd_write} return 0 on success */
    long make(TapeLine.Call call) {
        int fd = files.subject(call.on());
        if (call.isWrite() && fd != ReplayedFiles.NO_FD && !isOfEventfd(call)) {
            throw new LackingException("what a write to " + call.on() + " does");
        }
        return switch (call.call()) {
            case "read", "readv" -> read(call, fd);
            case "eventfd_read" -> Math.min(read(call, fd), 0);
            case "preadv2" -> readVector(call, fd);
            case "write" -> write(call, fd, 0, length(call));
            case "writev" -> writePieces(call, fd);
            case "eventfd_write" -> Math.min(write(call, fd, 0, Long.BYTES), 0);
            case "pread", "preadv" -> {
                requireEventfd(call, fd);
                yield libc.pread(fd, isBad(call) ? BAD : address, length(call), call.flags());
            }
            case "pwrite", "pwritev" -> libc.pwrite(fd, load(call.in(), call), length(call), call.flags());
            default -> throw new LackingException("the flags of " + call.call());
        };
    }

    private static void requireEventfd(TapeLine.Call call, int fd) {
        if (fd != ReplayedFiles.NO_FD && !isOfEventfd(call)) {
            throw new LackingException("what a read of " + call.on() + " gives");
        }
    }

    private long read(TapeLine.Call call, int fd) {
        if (isBad(call) && call.value() < Long.BYTES) {
            return readNoWait(call, fd); // the list of buffers itself was unreadable
        }
        boolean waits = isOfEventfd(call);
        boolean ready = !waits || is(fd, Uapi.POLLIN, call.errno().isEmpty() ? patience : 0);
        return ready || call.value() < Long.BYTES
                ? libc.read(fd, isBad(call) ? BAD : address, length(call))
                : readNoWait(call, fd);
    }

    private long readVector(TapeLine.Call call, int fd) {
        if (call.errno().isEmpty() && isOfEventfd(call)) {
            is(fd, Uapi.POLLIN, patience);
        }
        return readNoWait(call, fd);
    }

    private long readNoWait(TapeLine.Call call, int fd) {
        argument.putLong(DATA_AT + Uapi.Iovec.IOV_BASE, address).putLong(DATA_AT + Uapi.Iovec.IOV_LEN, length(call));
        return libc.preadv2(fd, isBad(call) ? BAD : address + DATA_AT, 1, -1, Uapi.RWF_NOWAIT);
    }

    /** @param at the offset of the first byte in the tape's bytes */
    private long write(TapeLine.Call call, int fd, int at, int length) {
        boolean room = is(fd, Epoll.EPOLLOUT, call.errno().isEmpty() ? patience : 0);
        return room || length != Long.BYTES || fd == ReplayedFiles.NO_FD
                ? libc.write(fd, load(call.in(), call) + at, length)
                : -Errno.EAGAIN.number();
    }

    /** Replays writev: an eventfd consumes the buffers one by one, 8 bytes of each. */
    private long writePieces(TapeLine.Call call, int fd) {
        int length = isBad(call) ? Long.BYTES : length(call);
        if (call.errno().filter(Errno.EINVAL::equals).isPresent() && length > Long.BYTES) {
            throw new LackingException("where the buffers of writev end");
        }
        int most = call.result() > Long.BYTES ? (int) Math.min(call.result(), length) : Math.min(length, Long.BYTES);
        long done = 0;
        for (int at = 0; at == 0 || at + Long.BYTES <= most; at += Long.BYTES) {
            long result = write(call, fd, at, Math.min(most, Long.BYTES));
            if (result < 0) {
                return done == 0 ? result : done;
            }
            done += result;
        }
        return done;
    }
}
