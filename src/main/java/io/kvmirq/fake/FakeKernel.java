/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * A kernel with KVM for one process, in Java: descriptors, memory, {@code /dev/kvm} and what is made from it. Thread-safe:
 * one call at a time, as under one big lock; a call that waits lets others in.
 */
public final class FakeKernel implements Libc {
    /** FIONBIO of asm-generic/ioctls.h: an int at the argument, 0 for blocking. */
    private static final long FIONBIO = 0x5421;

    private static final int EBADF = -Errno.EBADF.number();
    private static final int EFAULT = -Errno.EFAULT.number();
    private static final int EINVAL = -Errno.EINVAL.number();
    private static final int EMFILE = -Errno.EMFILE.number();
    private static final int ENOENT = -Errno.ENOENT.number();
    private static final int FIRST_FD = 3;
    private static final int MAX_FDS = 65536;
    private static final int LONGEST_PATH = 4096;
    private static final long PAGE = 4096;

    private final Profile profile;
    private final UserMemory memory = new UserMemory();
    private final Map<Integer, FakeFile> files = new HashMap<>();
    private int noneFreeBelow = FIRST_FD;

    public FakeKernel(Profile profile) {
        this.profile = profile;
    }

    // For the files

    Profile profile() {
        return profile;
    }

    UserMemory memory() {
        return memory;
    }

    Optional<FakeFile> file(int fd) {
        return Optional.ofNullable(files.get(fd));
    }

    Optional<EventFile> eventfd(int fd) {
        return files.get(fd) instanceof EventFile event ? Optional.of(event) : Optional.empty();
    }

    /** Gives a file the lowest free descriptor. */
    int install(FakeFile file) {
        return install(file, FIRST_FD);
    }

    private int install(FakeFile file, int lowest) {
        int fd = Math.max(lowest, noneFreeBelow);
        while (files.containsKey(fd)) {
            fd++;
        }
        if (fd >= MAX_FDS) {
            return EMFILE;
        }
        files.put(fd, file);
        if (lowest <= noneFreeBelow) {
            noneFreeBelow = fd + 1;
        }
        file.opened();
        return fd;
    }

    /** Something a waiting call may be waiting for. */
    void changed() {
        notifyAll();
    }

    /** Lets other calls in until something changes. */
    void awaitChange() {
        awaitChange(0);
    }

    @SuppressWarnings("WaitNotInLoop") // every caller looks again in a loop of its own
    private void awaitChange(long nanos) {
        try {
            long millis = TimeUnit.NANOSECONDS.toMillis(nanos);
            wait(millis, nanos == 0 ? 0 : Math.max(1, (int) (nanos - TimeUnit.MILLISECONDS.toNanos(millis))));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new NotModelledException("signals, which an interrupt of a waiting thread would be");
        }
    }

    // System calls

    @Override
    public synchronized int open(long path, int flags, int mode) {
        StringBuilder name = new StringBuilder();
        for (int i = 0; i < LONGEST_PATH; i++) {
            ByteBuffer at = memory.at(path + i, 1);
            if (at == null) {
                return EFAULT;
            }
            byte next = at.get(memory.offset(path + i));
            if (next == 0) {
                return open(name.toString());
            }
            name.append((char) next);
        }
        return EINVAL;
    }

    @Override
    public int open(@Nullable ByteBuffer path, int flags) {
        ByteBuffer checked = Buffers.cStringIn(path);
        byte[] bytes = new byte[checked.limit()];
        checked.get(0, bytes);
        String text = new String(bytes, StandardCharsets.UTF_8);
        synchronized (this) {
            return open(text.substring(0, text.indexOf('\0')));
        }
    }

    private int open(String path) {
        return path.equals("/dev/kvm") ? install(new KvmFile(this)) : ENOENT;
    }

    @Override
    public synchronized int close(int fd) {
        FakeFile file = files.remove(fd);
        if (file == null) {
            return EBADF;
        }
        noneFreeBelow = Math.min(noneFreeBelow, fd);
        file.closed();
        notifyAll();
        return 0;
    }

    @Override
    public synchronized int fcntl(int fd, int command, int argument) {
        FakeFile file = files.get(fd);
        if (file == null) {
            return EBADF;
        }
        if (command != Uapi.F_DUPFD_CLOEXEC) {
            throw new NotModelledException("fcntl " + command);
        }
        return argument < 0 || argument >= MAX_FDS ? EINVAL : install(file, Math.max(argument, FIRST_FD));
    }

    @Override
    public synchronized long read(int fd, long to, long length) {
        FakeFile file = files.get(fd);
        return file == null ? EBADF : file.read(to, length);
    }

    @Override
    public synchronized long write(int fd, long from, long length) {
        FakeFile file = files.get(fd);
        return file == null ? EBADF : file.write(from, length);
    }

    @Override
    public long pread(int fd, long to, long length, long offset) {
        throw new NotModelledException("pread");
    }

    @Override
    public long pwrite(int fd, long from, long length, long offset) {
        throw new NotModelledException("pwrite");
    }

    @Override
    public synchronized long preadv2(int fd, long vectors, int count, long offset, int flags) {
        FakeFile file = files.get(fd);
        if (file == null) {
            return EBADF;
        }
        ByteBuffer vector = memory.copyIn(vectors, Uapi.Iovec.SIZE);
        if (vector == null) {
            return EFAULT;
        }
        if (count != 1 || offset != -1 || flags != Uapi.RWF_NOWAIT) {
            throw new NotModelledException("preadv2 but for one eventfd without waiting");
        }
        long length = vector.getLong(Uapi.Iovec.IOV_LEN);
        long to = vector.getLong(Uapi.Iovec.IOV_BASE);
        if (!(file instanceof EventFile event)) {
            return EINVAL;
        }
        return length == 0 ? 0 : length < Long.BYTES ? EINVAL : event.readNow(to);
    }

    @Override
    public synchronized int ioctl(int fd, long request, long argument) {
        FakeFile file = files.get(fd);
        if (file == null) {
            return EBADF;
        }
        int result = request == FIONBIO ? setBlocking(file, argument) : file.ioctl(request, argument);
        // Whatever it was may have raised an interrupt for a CPU that halts.
        notifyAll();
        return result;
    }

    private int setBlocking(FakeFile file, long argument) {
        ByteBuffer nonblocking = memory.copyIn(argument, Integer.BYTES);
        if (nonblocking == null) {
            return EFAULT;
        }
        file.setBlocking(nonblocking.getInt(0) == 0);
        return 0;
    }

    @Override
    public synchronized long mmap(long length, int protection, int flags, int fd, long offset) {
        if (length <= 0) {
            return EINVAL;
        }
        if ((flags & Uapi.MAP_ANONYMOUS) != 0) {
            long whole = (length + PAGE - 1) / PAGE * PAGE;
            return memory.map(ByteBuffer.allocateDirect(Math.toIntExact(whole)).order(ByteOrder.nativeOrder()));
        }
        FakeFile file = files.get(fd);
        if (file == null) {
            return EBADF;
        }
        return file instanceof VcpuDescriptor vcpu ? memory.map(vcpu.shared()) : -Errno.ENODEV.number();
    }

    @Override
    public synchronized int munmap(long address, long length) {
        return memory.unmap(address) ? 0 : EINVAL;
    }

    @Override
    public synchronized int ppoll(long fds, long count, long timeout) {
        int bytes = Math.toIntExact(count * Uapi.Pollfd.SIZE);
        ByteBuffer polled = memory.at(fds, bytes);
        ByteBuffer limit = timeout == 0 ? null : memory.copyIn(timeout, Uapi.Timespec.SIZE);
        if (polled == null || timeout != 0 && limit == null) {
            return EFAULT;
        }
        long nanos = limit == null
                ? Long.MAX_VALUE
                : TimeUnit.SECONDS.toNanos(limit.getLong(Uapi.Timespec.TV_SEC)) + limit.getLong(Uapi.Timespec.TV_NSEC);
        long start = System.nanoTime();
        while (true) {
            int ready = poll(polled, memory.offset(fds), (int) count);
            long left = nanos - (System.nanoTime() - start);
            if (ready > 0 || left <= 0) {
                return ready;
            }
            awaitChange(nanos == Long.MAX_VALUE ? 0 : left);
        }
    }

    private int poll(ByteBuffer polled, int at, int count) {
        int ready = 0;
        for (int i = 0; i < count; i++) {
            int entry = at + i * Uapi.Pollfd.SIZE;
            int fd = polled.getInt(entry + Uapi.Pollfd.FD);
            int events = 0;
            if (fd >= 0) {
                FakeFile file = files.get(fd);
                boolean asked = (polled.getShort(entry + Uapi.Pollfd.EVENTS) & Uapi.POLLIN) != 0;
                events = file == null ? Uapi.POLLNVAL : asked && file.readable() ? Uapi.POLLIN : 0;
            }
            polled.putShort(entry + Uapi.Pollfd.REVENTS, (short) events);
            ready += events == 0 ? 0 : 1;
        }
        return ready;
    }

    @Override
    public synchronized int eventfd(int count, int flags) {
        if ((flags & ~(Uapi.EFD_SEMAPHORE | Uapi.O_NONBLOCK | Uapi.O_CLOEXEC)) != 0) {
            return EINVAL;
        }
        boolean semaphore = (flags & Uapi.EFD_SEMAPHORE) != 0;
        boolean blocking = (flags & Uapi.O_NONBLOCK) == 0;
        return install(new EventFile(this, Integer.toUnsignedLong(count), semaphore, blocking));
    }

    @Override
    public synchronized int epollCreate(int flags) {
        return install(new EpollFile(profile));
    }

    @Override
    public int epollCtl(int epoll, int operation, int fd, long event) {
        throw new NotModelledException("epoll_ctl");
    }

    @Override
    public int epollWait(int epoll, long events, int max, int timeoutMillis) {
        throw new NotModelledException("epoll_wait");
    }

    // Memory

    @Override
    public boolean isReal() {
        return false;
    }

    @Override
    public synchronized ByteBuffer view(long address, long length) {
        ByteBuffer mapped = memory.at(address, length);
        if (mapped == null) {
            throw new IllegalArgumentException("nothing is mapped at 0x" + Long.toHexString(address));
        }
        return mapped.slice(memory.offset(address), Math.toIntExact(length)).order(ByteOrder.nativeOrder());
    }

    @Override
    public synchronized long addressOf(ByteBuffer buffer) {
        return memory.addressOf(Buffers.readable(buffer, 0));
    }

    @Override
    public String toString() {
        return "fake kernel " + profile.label();
    }
}
