/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.NotModelledException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.fake.file.EpollFile;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.FakeMemoryFile;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.FileTable;
import io.kvmirq.fake.file.Ledger;
import io.kvmirq.fake.file.OpenFlag;
import io.kvmirq.fake.file.Threads;
import io.kvmirq.fake.file.UserMemory;
import io.kvmirq.uapi.Memfd;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntSupplier;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import java.util.function.ToIntFunction;
import java.util.function.ToLongFunction;

/**
 * The fake kernel's system calls. A call holds the lock of {@link FakeTime} until it returns, and releases it while it
 * waits. A call on a descriptor is handled by its {@link FakeFile}. A refused call returns a negative errno. A call
 * that is not modelled throws {@link NotModelledException}.
 */
final class SystemCalls implements Libc {
    private static final int LONGEST_PATH = 4096;
    private static final long LAST_ADDRESS = Mappings.LAST_ADDRESS;
    /** {@code UIO_MAXIOV}. */
    private static final int MOST_VECTORS = 1024;
    /** {@code MAX_RW_COUNT}. */
    private static final long LONGEST_TRANSFER = 0x7ffff000L;

    private static final int OTHER_STATUS = Uapi.O_APPEND | Uapi.FASYNC | Uapi.O_NOATIME;

    /** The flags that {@link #open} models, besides O_LARGEFILE. */
    private static final int OPEN_FLAGS = Uapi.O_ACCMODE | Uapi.O_NOCTTY | Uapi.O_NONBLOCK | Uapi.O_CLOEXEC;

    /**
     * Requests that fs/ioctl.c handles before the file, ascending; they are not modelled: FIGETBSZ, FIOQSIZE, FICLONE,
     * FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, FICLONERANGE, FS_IOC_GETFSUUID, FS_IOC_GETFSSYSFSPATH, FIFREEZE, FITHAW,
     * FIDEDUPERANGE and FS_IOC_FIEMAP.
     */
    private static final long[] OF_ANY_FILE = {
        0x2L,
        0x5460L,
        0x40049409L,
        0x40086602L,
        0x401c5820L,
        0x4020940dL,
        0x80111500L,
        0x80811501L,
        0xc0045877L,
        0xc0045878L,
        0xc0189436L,
        0xc020660bL
    };

    private final FakeHost host;
    private final ToIntFunction<String> nodes;
    private final Supplier<HostFiles> shown;
    private final Rulebook rules;
    private final Ledger ledger;
    private final FakeTime time;
    private final UserMemory memory;
    private final FileTable files;
    private final Mappings mappings;

    /** {@code nodes} opens a device node and returns its descriptor, or a negative errno. */
    SystemCalls(FakeHost host, ToIntFunction<String> nodes, Supplier<HostFiles> shown) {
        this.host = host;
        this.nodes = nodes;
        this.shown = shown;
        this.rules = host.rules();
        this.ledger = host.ledger();
        this.time = host.time();
        this.memory = host.memory();
        this.files = host.files();
        this.mappings = new Mappings(host);
    }

    private void begin(String call, long request, int fd) {
        time.enter();
        boolean begun = false;
        try {
            rules.begin();
            ledger.begin(call, request, fd);
            begun = true;
        } finally {
            if (!begun) {
                time.close();
            }
        }
    }

    /** Records the refused call with its rule. */
    private void refused(String call, long request, int fd) {
        FakeFile file = files.get(fd);
        rules.failed(call, request, file == null ? List.of() : file.facts());
    }

    private long call(String call, long request, int fd, LongSupplier action) {
        begin(call, request, fd);
        try (time) {
            long result = make(action);
            if (result < 0) {
                refused(call, request, fd);
            }
            ledger.end();
            return result;
        }
    }

    private long make(LongSupplier action) {
        try {
            return action.getAsLong();
        } catch (RuntimeException | Error e) {
            ledger.threw();
            throw e;
        }
    }

    private int call(String call, IntSupplier action) {
        return (int) call(call, 0, -1, action::getAsInt);
    }

    /** Runs a call on a descriptor; EBADF if it is not open. */
    private long call(String call, long request, int fd, ToLongFunction<FakeFile> action) {
        return call(call, request, fd, () -> {
            FakeFile file = files.get(fd);
            return file == null ? refuse(FileAnswer.FD_NOT_OPEN) : action.applyAsLong(file);
        });
    }

    private int refuse(Answer rule) {
        return host.refuse(rule);
    }

    @Override
    public HostFiles hostFiles() {
        return shown.get();
    }

    // Descriptors

    @Override
    public int open(long path, int flags, int mode) {
        return call("open", () -> {
            String name = memory.text(path, LONGEST_PATH);
            if (name == null) {
                return refuse(FileAnswer.FAULT);
            }
            if ((flags & ~(OPEN_FLAGS | OpenFlag.LARGEFILE.on(host.build()))) != 0) {
                throw new NotModelledException("open with flags 0" + Integer.toOctalString(flags));
            }
            if (name.endsWith("/")) {
                throw new NotModelledException("opening a directory");
            }
            int fd = nodes.applyAsInt(name);
            FakeFile file = files.get(fd);
            if (file != null) {
                file.openedByName(flags);
            }
            return fd;
        });
    }

    @Override
    public int eventfd(int count, int flags) {
        return call("eventfd2", () -> {
            if ((flags & ~(Uapi.EFD_SEMAPHORE | Uapi.O_NONBLOCK | Uapi.O_CLOEXEC)) != 0) {
                return refuse(FileAnswer.EVENTFD_FLAGS);
            }
            boolean semaphore = (flags & Uapi.EFD_SEMAPHORE) != 0;
            boolean blocking = (flags & Uapi.O_NONBLOCK) == 0;
            return host.install(new EventFile(host, Integer.toUnsignedLong(count), semaphore, blocking));
        });
    }

    @Override
    public int close(int fd) {
        return (int) call("close", 0, fd, file -> {
            files.remove(fd);
            file.closed();
            time.changed();
            return 0;
        });
    }

    @Override
    public int fcntl(int fd, int command, int argument) {
        return (int) call("fcntl", 0, fd, file -> switch (command) {
            case Uapi.F_GETFD -> {
                host.note(FileAnswer.FD_CLOSED_ON_EXEC);
                yield Uapi.FD_CLOEXEC;
            }
            case Uapi.F_GETFL -> file.statusFlags();
            case Uapi.F_SETFL -> setStatusFlags(file, argument);
            case Uapi.F_DUPFD_CLOEXEC ->
                argument < 0 || argument >= files.limit()
                        ? refuse(FileAnswer.FD_DUP_LIMIT)
                        : host.install(file, argument);
            case Memfd.F_ADD_SEALS, Memfd.F_GET_SEALS -> FakeMemoryFile.seals(host, file, command, argument);
            default -> throw new NotModelledException("fcntl " + command);
        });
    }

    /** Sets status flags by F_SETFL, which ignores the access mode and the flags of open(2). */
    private int setStatusFlags(FakeFile file, int flags) {
        if ((flags & OpenFlag.DIRECT.on(host.build())) != 0) {
            return refuse(FileAnswer.NO_DIRECT);
        }
        if ((flags & OTHER_STATUS) != 0) {
            throw new NotModelledException("F_SETFL of 0" + Integer.toOctalString(flags));
        }
        file.setBlocking((flags & Uapi.O_NONBLOCK) == 0);
        return 0;
    }

    // Reading, writing, requests

    @Override
    public long read(int fd, long to, long length) {
        return call("read", 0, fd, file -> {
            int refused = refusesToRead(file, to, length, 0);
            return refused < 0 ? refused : file.read(to, length);
        });
    }

    /** The checks of {@code vfs_read()}. */
    private int refusesToRead(FakeFile file, long to, long length, long offset) {
        int refused = refusesToRead(file);
        return refused < 0 ? refused : refusesPlace(to, length, offset);
    }

    private int refusesToRead(FakeFile file) {
        if (!file.may(FakeFile.READ)) {
            return refuse(FileAnswer.NOT_FOR_READING);
        }
        return file.may(FakeFile.CAN_READ) ? 0 : refuse(FileAnswer.NOT_READABLE);
    }

    /** The checks of {@code vfs_write()}. */
    private int refusesToWrite(FakeFile file, long from, long length, long offset) {
        if (!file.may(FakeFile.WRITE)) {
            return refuse(FileAnswer.NOT_FOR_WRITING);
        }
        if (!file.may(FakeFile.CAN_WRITE)) {
            return refuse(FileAnswer.NOT_READABLE);
        }
        return refusesPlace(from, length, offset);
    }

    /** Does not allocate, because eventfd signals use this call. */
    @Override
    public long write(int fd, long from, long length) {
        time.enter();
        try {
            rules.begin();
            ledger.beginWrite(fd);
            FakeFile file = files.get(fd);
            int refused = file == null ? refuse(FileAnswer.FD_NOT_OPEN) : refusesToWrite(file, from, length, 0);
            long result = file == null || refused < 0 ? refused : file.write(from, length);
            if (result < 0) {
                refused("write", 0, fd);
            }
            ledger.endSignal();
            return result;
        } catch (RuntimeException | Error e) {
            ledger.threw();
            throw e;
        } finally {
            time.close();
        }
    }

    /** The checks of {@code access_ok()}, that the memory is in user space, and of {@code rw_verify_area()}. */
    private int refusesPlace(long address, long length, long offset) {
        if (length < 0 || address < 0 || address > LAST_ADDRESS - length) {
            return refuse(FileAnswer.FAULT);
        }
        return offset + length < 0 ? refuse(FileAnswer.NEGATIVE_OFFSET) : 0;
    }

    @Override
    public long pread(int fd, long to, long length, long offset) {
        return at("pread", fd, offset, FakeFile.PREAD, file -> {
            int refused = refusesToRead(file, to, length, offset);
            return refused < 0 ? refused : file.pread(to, length, offset);
        });
    }

    @Override
    public long pwrite(int fd, long from, long length, long offset) {
        return at("pwrite", fd, offset, FakeFile.PWRITE, file -> {
            int refused = refusesToWrite(file, from, length, offset);
            return refused < 0 ? refused : file.pwrite(from, length, offset);
        });
    }

    /** Checks the offset before the descriptor, as the kernel does. */
    private long at(String call, int fd, long offset, int mode, ToLongFunction<FakeFile> action) {
        return offset < 0
                ? call(call, 0, fd, () -> refuse(FileAnswer.NEGATIVE_OFFSET))
                : call(call, 0, fd, file -> file.may(mode) ? action.applyAsLong(file) : refuse(FileAnswer.NO_OFFSET));
    }

    /** Offset -1 means the call without an offset, {@code do_readv()}. */
    @Override
    public long preadv2(int fd, long vectors, int count, long offset, int flags) {
        return offset == -1
                ? call("preadv2", 0, fd, file -> readVector(file, vectors, count, offset, flags))
                : at("preadv2", fd, offset, FakeFile.PREAD, file -> readVector(file, vectors, count, offset, flags));
    }

    /** {@code vfs_readv()}; before 6.8 it imported the vectors before it looked at the file. */
    private long readVector(FakeFile file, long vectors, int count, long offset, int flags) {
        boolean fileFirst = host.build().isSince(6, 8);
        int refused = fileFirst ? refusesToRead(file) : 0;
        if (refused < 0) {
            return refused;
        }
        if (count < 0 || count > MOST_VECTORS) {
            return refuse(FileAnswer.VECTOR_LENGTH);
        }
        if (count > 1) {
            throw new NotModelledException("preadv2 of more than one vector");
        }
        ByteBuffer vector = count == 0 ? ByteBuffer.allocate(Uapi.Iovec.SIZE) : memory.copyIn(vectors, Uapi.Iovec.SIZE);
        if (vector == null) {
            return refuse(FileAnswer.FAULT);
        }
        long asked = vector.getLong(Uapi.Iovec.IOV_LEN);
        long length = host.build().isSince(6, 4) ? Math.min(asked, LONGEST_TRANSFER) : asked;
        long to = vector.getLong(Uapi.Iovec.IOV_BASE);
        if (length < 0) {
            return refuse(FileAnswer.VECTOR_LENGTH);
        }
        refused = refusesPlace(to, length, 0);
        if (refused == 0 && !fileFirst) {
            host.note(FileAnswer.VECTOR_FIRST_BEFORE);
            refused = refusesToRead(file);
        }
        if (refused < 0) {
            return refused;
        }
        if (length == 0) {
            host.note(FileAnswer.EVENTFD_NOWAIT_NOTHING);
            return 0;
        }
        if (flags == 0) {
            refused = refusesPlace(to, length, Math.max(offset, 0));
            return refused < 0 ? refused : offset == -1 ? file.read(to, length) : file.pread(to, length, offset);
        }
        if (flags != Uapi.RWF_NOWAIT || !(file instanceof EventFile event)) {
            throw new NotModelledException("preadv2 with flags, except RWF_NOWAIT on an eventfd");
        }
        return length < Long.BYTES ? refuse(FileAnswer.EVENTFD_LENGTH) : event.readNow(to);
    }

    @Override
    public int ioctl(int fd, long request, long argument) {
        return (int) call("ioctl", request, fd, file -> {
            int result = ioctlLocked(file, request, argument);
            // Wake halted vCPUs: the ioctl may have raised an interrupt.
            time.changed();
            return result;
        });
    }

    private int ioctlLocked(FakeFile file, long request, long argument) {
        if (request == Uapi.FIONBIO) {
            return host.copied(argument, Integer.BYTES, nonblocking -> {
                file.setBlocking(nonblocking.getInt(0) == 0);
                return 0;
            });
        }
        if (request == Uapi.FIOASYNC) {
            return host.copied(
                    argument, Integer.BYTES, on -> on.getInt(0) == 0 ? 0 : refuse(FileAnswer.NO_SIGNALS_OF_FILE));
        }
        if (request == Uapi.FIOCLEX) {
            return 0;
        }
        if (request == Uapi.FIONCLEX) {
            throw new NotModelledException("FIONCLEX");
        }
        if (Arrays.binarySearch(OF_ANY_FILE, request) >= 0) {
            throw new NotModelledException("the request 0x" + Long.toHexString(request) + " of any file");
        }
        return file.isOfOneProcess() && file.isForeign() != host.isForeign()
                ? refuse(FileAnswer.FOREIGN_PROCESS)
                : file.ioctl(request, argument);
    }

    // Waiting

    @Override
    public int ppoll(long fds, long count, long timeout) {
        return call("ppoll", () -> ppollLocked(fds, count, timeout));
    }

    private int ppollLocked(long fds, long given, long timeout) {
        ByteBuffer limit = timeout == 0 ? null : memory.copyIn(timeout, Uapi.Timespec.SIZE);
        if (timeout != 0 && limit == null) {
            return refuse(FileAnswer.FAULT);
        }
        long nanos = limit == null ? Long.MAX_VALUE : FakeTime.nanos(limit);
        if (nanos < 0) {
            return refuse(FileAnswer.POLL_NO_TIME);
        }
        long count = Integer.toUnsignedLong((int) given);
        if (count > files.limit()) {
            return refuse(FileAnswer.POLL_TOO_MANY);
        }
        if (count == 0) {
            return time.await(nanos, () -> 0);
        }
        long bytes = count * Uapi.Pollfd.SIZE;
        ByteBuffer polled = memory.writableAt(fds, bytes);
        if (polled != null) {
            return time.await(nanos, () -> files.poll(polled, memory.offset(fds), (int) count));
        }
        ByteBuffer copy = memory.copyIn(fds, (int) bytes);
        if (copy != null) {
            time.await(nanos, () -> files.poll(copy, 0, (int) count));
        }
        return refuse(FileAnswer.FAULT);
    }

    @Override
    public int epollCreate(int flags) {
        return call("epoll_create1", () -> {
            boolean known = (flags & ~Uapi.EPOLL_CLOEXEC) == 0;
            return known ? host.install(new EpollFile(host)) : refuse(FileAnswer.EPOLL_FLAGS);
        });
    }

    @Override
    public int epollCtl(int epoll, int operation, int fd, long event) {
        return (int) call("epoll_ctl", 0, epoll, () -> EpollFile.control(host, epoll, operation, fd, event));
    }

    @Override
    public int epollWait(int epoll, long events, int max, int timeoutMillis) {
        return (int) call("epoll_wait", 0, epoll, () -> EpollFile.await(host, epoll, events, max, timeoutMillis));
    }

    @Override
    public long syscall(SystemCall call, long a, long b, long c, long d) {
        return call(call.kernelName(), 0, -1, () -> switch (call) {
            case GETPID -> Threads.process();
            case GETTID -> host.threads().thread();
            case TGKILL -> host.threads().send(host, (int) a, (int) b, (int) c);
            case RT_SIGPROCMASK -> host.threads().mask(host, (int) a, b, c, d);
            case MEMFD_CREATE -> FakeMemoryFile.create(host, a, (int) b, FreshMemory::allocate);
            case FTRUNCATE -> FakeMemoryFile.truncate(host, (int) a, b);
            case MMAP -> mappings.replace(a, b, c, d);
            case MADVISE -> mappings.advise(a, b, c);
            case RT_SIGTIMEDWAIT -> host.threads().await(host, a, b, c, d);
            case MEMBARRIER -> refuse(FileAnswer.MEMBARRIER_ABSENT);
        });
    }

    // Memory

    @Override
    public long mmap(long length, int protection, int flags, int fd, long offset) {
        return call("mmap", 0, fd, () -> mappings.map(length, protection, flags, fd, offset));
    }

    @Override
    public int munmap(long address, long length) {
        return call("munmap", () -> mappings.unmap(address, length));
    }

    @Override
    public boolean isReal() {
        return false;
    }

    @Override
    public ByteBuffer view(long address, long length) {
        int bytes = Buffers.viewLength(length);
        return time.locked(() -> {
            ByteBuffer mapped = memory.at(address, bytes, 0);
            if (mapped == null) {
                throw new IllegalArgumentException("nothing is mapped at 0x" + Long.toHexString(address));
            }
            return mapped.slice(memory.offset(address), bytes).order(ByteOrder.nativeOrder());
        });
    }

    @Override
    public long addressOf(ByteBuffer buffer) {
        return time.locked(() -> memory.addressOf(Buffers.readable(buffer, 0)));
    }
}
