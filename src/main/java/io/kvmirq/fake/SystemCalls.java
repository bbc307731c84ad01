/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.NotModelledException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.fake.file.EpollFile;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.FileTable;
import io.kvmirq.fake.file.UserMemory;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The fake kernel's system calls. A call holds the lock of {@link FakeTime} until it returns, and releases it while it
 * waits. A call on a descriptor goes to its {@link FakeFile}. The result is a negative errno for a refusal. A call that is
 * not modelled throws {@link NotModelledException}.
 */
abstract class SystemCalls implements Libc {
    private static final int LONGEST_PATH = 4096;
    private static final long LONGEST_WAIT_SECONDS = 1L << 32;
    private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);
    private static final long PAGE = 4096;

    final FakeHost host;
    private final FakeTime time;
    private final UserMemory memory;
    private final FileTable files;

    SystemCalls(FakeHost host) {
        this.host = host;
        this.time = host.time();
        this.memory = host.memory();
        this.files = host.files();
    }

    /** Begins a call: takes the lock. */
    private void begin() {
        time.enter();
        host.rules().begin();
    }

    /** Records the rule that refused the call, if the result is negative. Returns the result. */
    private long answered(String call, long request, int fd, long result) {
        if (result < 0) {
            FakeFile file = files.get(fd);
            host.rules().failed(call, request, file == null ? List.of() : file.facts());
        }
        return result;
    }

    private long answered(String call, int fd, long result) {
        return answered(call, 0, fd, result);
    }

    private int refuse(Answer rule) {
        return host.refuse(rule);
    }

    // Descriptors

    @Override
    public int open(long path, int flags, int mode) {
        begin();
        try (time) {
            return (int) answered("open", -1, openLocked(path));
        }
    }

    private int openLocked(long path) {
        String name = memory.text(path, LONGEST_PATH);
        return name == null ? refuse(FileAnswer.FAULT) : open(name);
    }

    /** Opens a path. Returns a descriptor or a negative errno. */
    abstract int open(String path);

    @Override
    public int eventfd(int count, int flags) {
        begin();
        try (time) {
            return (int) answered("eventfd2", -1, eventfdLocked(count, flags));
        }
    }

    private int eventfdLocked(int count, int flags) {
        if ((flags & ~(Uapi.EFD_SEMAPHORE | Uapi.O_NONBLOCK | Uapi.O_CLOEXEC)) != 0) {
            return refuse(FileAnswer.EVENTFD_FLAGS);
        }
        boolean semaphore = (flags & Uapi.EFD_SEMAPHORE) != 0;
        boolean blocking = (flags & Uapi.O_NONBLOCK) == 0;
        return host.install(new EventFile(host, Integer.toUnsignedLong(count), semaphore, blocking));
    }

    @Override
    public int close(int fd) {
        begin();
        try (time) {
            FakeFile file = files.remove(fd);
            if (file == null) {
                return (int) answered("close", fd, refuse(FileAnswer.FD_NOT_OPEN));
            }
            file.closed();
            time.changed();
            return 0;
        }
    }

    @Override
    public int fcntl(int fd, int command, int argument) {
        begin();
        try (time) {
            FakeFile file = files.get(fd);
            return (int) answered(
                    "fcntl", fd, file == null ? refuse(FileAnswer.FD_NOT_OPEN) : fcntlLocked(file, command, argument));
        }
    }

    private int fcntlLocked(FakeFile file, int command, int argument) {
        return switch (command) {
            case Uapi.F_GETFD -> {
                host.note(FileAnswer.FD_CLOSED_ON_EXEC);
                yield Uapi.FD_CLOEXEC;
            }
            case Uapi.F_GETFL -> file.statusFlags();
            case Uapi.F_DUPFD_CLOEXEC ->
                argument < 0 || argument >= files.limit()
                        ? refuse(FileAnswer.FD_DUP_LIMIT)
                        : host.install(file, argument);
            default -> throw new NotModelledException("fcntl " + command);
        };
    }

    // Reading, writing, requests

    @Override
    public long read(int fd, long to, long length) {
        begin();
        try (time) {
            FakeFile file = files.get(fd);
            return answered("read", fd, file == null ? refuse(FileAnswer.FD_NOT_OPEN) : file.read(to, length));
        }
    }

    @Override
    public long write(int fd, long from, long length) {
        begin();
        try (time) {
            FakeFile file = files.get(fd);
            return answered("write", fd, file == null ? refuse(FileAnswer.FD_NOT_OPEN) : file.write(from, length));
        }
    }

    @Override
    public long pread(int fd, long to, long length, long offset) {
        begin();
        try (time) {
            FakeFile file = files.get(fd);
            int refused = refusePlace(file, offset);
            return answered("pread", fd, file == null || refused < 0 ? refused : file.pread(to, length, offset));
        }
    }

    @Override
    public long pwrite(int fd, long from, long length, long offset) {
        begin();
        try (time) {
            FakeFile file = files.get(fd);
            int refused = refusePlace(file, offset);
            return answered("pwrite", fd, file == null || refused < 0 ? refused : file.pwrite(from, length, offset));
        }
    }

    /** The refusal of a negative offset, or of a missing file, in this order; else 0. */
    private int refusePlace(@Nullable FakeFile file, long offset) {
        if (offset < 0) {
            return refuse(FileAnswer.NEGATIVE_OFFSET);
        }
        return file == null ? refuse(FileAnswer.FD_NOT_OPEN) : 0;
    }

    @Override
    public long preadv2(int fd, long vectors, int count, long offset, int flags) {
        begin();
        try (time) {
            FakeFile file = files.get(fd);
            return answered(
                    "preadv2",
                    fd,
                    file == null ? refuse(FileAnswer.FD_NOT_OPEN) : preadv2Locked(file, vectors, count, offset, flags));
        }
    }

    private long preadv2Locked(FakeFile file, long vectors, int count, long offset, int flags) {
        ByteBuffer vector = memory.copyIn(vectors, Uapi.Iovec.SIZE);
        if (vector == null) {
            return refuse(FileAnswer.FAULT);
        }
        if (count != 1 || offset != -1 || flags != Uapi.RWF_NOWAIT) {
            throw new NotModelledException("preadv2, except RWF_NOWAIT on one eventfd");
        }
        long length = vector.getLong(Uapi.Iovec.IOV_LEN);
        long to = vector.getLong(Uapi.Iovec.IOV_BASE);
        if (!(file instanceof EventFile event)) {
            return refuse(FileAnswer.NOT_AN_EVENTFD_NOWAIT);
        }
        if (length == 0) {
            host.note(FileAnswer.EVENTFD_NOWAIT_NOTHING);
            return 0;
        }
        return length < Long.BYTES ? refuse(FileAnswer.EVENTFD_LENGTH) : event.readNow(to);
    }

    @Override
    public int ioctl(int fd, long request, long argument) {
        begin();
        try (time) {
            FakeFile file = files.get(fd);
            int result = file == null ? refuse(FileAnswer.FD_NOT_OPEN) : ioctlLocked(file, request, argument);
            answered("ioctl", request, fd, result);
            // The ioctl may have raised an interrupt for a halted vCPU.
            time.changed();
            return result;
        }
    }

    private int ioctlLocked(FakeFile file, long request, long argument) {
        if (request == Uapi.FIONBIO) {
            return host.copied(argument, Integer.BYTES, nonblocking -> {
                file.setBlocking(nonblocking.getInt(0) == 0);
                return 0;
            });
        }
        return file.isOfOneProcess() && file.isForeign() != host.isForeign()
                ? refuse(FileAnswer.FOREIGN_PROCESS)
                : file.ioctl(request, argument);
    }

    // Waiting

    @Override
    public int ppoll(long fds, long count, long timeout) {
        begin();
        try (time) {
            return (int) answered("ppoll", -1, ppollLocked(fds, count, timeout));
        }
    }

    private int ppollLocked(long fds, long count, long timeout) {
        int bytes = Math.toIntExact(count * Uapi.Pollfd.SIZE);
        ByteBuffer polled = count == 0 ? NOTHING : memory.at(fds, bytes);
        ByteBuffer limit = timeout == 0 ? null : memory.copyIn(timeout, Uapi.Timespec.SIZE);
        if (polled == null || timeout != 0 && limit == null) {
            return refuse(FileAnswer.FAULT);
        }
        long nanos = limit == null
                ? Long.MAX_VALUE
                : Duration.ofSeconds(
                                Math.min(limit.getLong(Uapi.Timespec.TV_SEC), LONGEST_WAIT_SECONDS),
                                limit.getLong(Uapi.Timespec.TV_NSEC))
                        .toNanos();
        return time.await(nanos, () -> files.poll(polled, count == 0 ? 0 : memory.offset(fds), (int) count));
    }

    @Override
    public int epollCreate(int flags) {
        begin();
        try (time) {
            boolean known = (flags & ~Uapi.EPOLL_CLOEXEC) == 0;
            int fd = known ? host.install(new EpollFile(host)) : refuse(FileAnswer.EPOLL_FLAGS);
            return (int) answered("epoll_create1", -1, fd);
        }
    }

    @Override
    public int epollCtl(int epoll, int operation, int fd, long event) {
        begin();
        try (time) {
            return (int) answered("epoll_ctl", epoll, EpollFile.control(host, epoll, operation, fd, event));
        }
    }

    @Override
    public int epollWait(int epoll, long events, int max, int timeoutMillis) {
        begin();
        try (time) {
            return (int) answered("epoll_wait", epoll, EpollFile.await(host, epoll, events, max, timeoutMillis));
        }
    }

    // Memory

    @Override
    public long mmap(long length, int protection, int flags, int fd, long offset) {
        begin();
        try (time) {
            return answered("mmap", fd, mmapLocked(length, flags, fd, offset));
        }
    }

    private long mmapLocked(long length, int flags, int fd, long offset) {
        if (length <= 0) {
            return refuse(FileAnswer.MAP_LENGTH);
        }
        int whole = Math.toIntExact((length + PAGE - 1) / PAGE * PAGE);
        if ((flags & Uapi.MAP_ANONYMOUS) != 0) {
            return memory.map(ByteBuffer.allocateDirect(whole).order(ByteOrder.nativeOrder()));
        }
        FakeFile file = files.get(fd);
        if (file == null) {
            return refuse(FileAnswer.FD_NOT_OPEN);
        }
        ByteBuffer shared = file.shared().orElse(null);
        if (shared == null) {
            return refuse(FileAnswer.MAP_NOT_A_VCPU);
        }
        if (offset != 0 || whole > shared.capacity()) {
            throw new NotModelledException("mapping a vCPU but from its first page to its last");
        }
        return memory.map(shared.slice(0, whole).order(ByteOrder.nativeOrder()));
    }

    @Override
    public int munmap(long address, long length) {
        begin();
        try (time) {
            if (address % PAGE != 0 || length <= 0) {
                return (int) answered("munmap", -1, refuse(FileAnswer.UNMAP_ALIGNMENT));
            }
            memory.unmap(address, (length + PAGE - 1) / PAGE * PAGE);
            return 0;
        }
    }

    @Override
    public boolean isReal() {
        return false;
    }

    @Override
    public ByteBuffer view(long address, long length) {
        int bytes = Buffers.viewLength(length);
        time.enter();
        try (time) {
            ByteBuffer mapped = memory.at(address, bytes);
            if (mapped == null) {
                throw new IllegalArgumentException("nothing is mapped at 0x" + Long.toHexString(address));
            }
            return mapped.slice(memory.offset(address), bytes).order(ByteOrder.nativeOrder());
        }
    }

    @Override
    public long addressOf(ByteBuffer buffer) {
        time.enter();
        try (time) {
            return memory.addressOf(Buffers.readable(buffer, 0));
        }
    }
}
