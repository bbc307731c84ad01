/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.NotPromised;
import io.kvmirq.uapi.Uapi;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * Raw system calls, declared as in libc but returning {@code >= 0} or {@code -errno}. The caller encodes structures.
 *
 * <p>The interface is stable for callers, but not for implementers: a new method may have a default that does not suit
 * your implementation.
 *
 * <p>A caller that passes an address must own the memory and keep it reachable. For a wrong address, the kernel returns
 * EFAULT. Alternatively, pass a buffer. It must be direct, at position 0, long enough, and writable if the kernel
 * writes it, or the method throws {@link IllegalArgumentException} without a system call. A buffer from a {@code
 * java.lang.foreign} arena must be alive and accessible to the caller, or the method throws the JDK's
 * IllegalStateException or WrongThreadException without a system call. The library passes the kernel a copy of an
 * arena's buffer. So if the arena is closed during the call, the kernel does not touch freed memory, and the call takes
 * effect, but a call that writes its buffer throws IllegalStateException. New descriptors are O_CLOEXEC. Thread-safe.
 */
public interface Libc {
    /** open(2). {@code path} is the address of a NUL-terminated path. */
    int open(long path, int flags, int mode);

    /** close(2). */
    int close(int fd);

    /** fcntl(2) with a number, not an address, as the third argument. */
    int fcntl(int fd, int command, int argument);

    /** read(2) into the memory at an address. */
    long read(int fd, long to, long length);

    /** write(2) from the memory at an address. */
    long write(int fd, long from, long length);

    /** pread(2) into the memory at an address. */
    long pread(int fd, long to, long length, long offset);

    /** pwrite(2) from the memory at an address. */
    long pwrite(int fd, long from, long length, long offset);

    /** preadv2(2). {@code vectors} is the address of {@code count} {@code struct iovec}. */
    long preadv2(int fd, long vectors, int count, long offset, int flags);

    /**
     * @param request the full request number, zero-extended from 32 bits
     * @param argument a value or an address, depending on the request
     * @return {@code >= 0} or {@code -errno}. A result below -4095 is a 32-bit value and not an errno, such as a TSC
     *     frequency of at least 2^31 kHz
     */
    int ioctl(int fd, long request, long argument);

    /** mmap(2). Returns the address, or {@code -errno}. */
    long mmap(long length, int protection, int flags, int fd, long offset);

    /**
     * mmap(2) with MAP_FIXED. Replaces anything mapped in the address range with zeroed memory. Like munmap(2), this
     * frees the pages, but the range stays mapped and accessible.
     *
     * @return 0 or {@code -errno}, such as -ENOMEM. On Linux before 6.12, a failed call may leave the range unmapped
     */
    default int mapZeros(long address, long length) {
        return (int) Math.min(
                syscall(SystemCall.MMAP, address, length, Uapi.PROT_READ | Uapi.PROT_WRITE, SystemCall.MAP_ZEROS), 0);
    }

    /** munmap(2). */
    int munmap(long address, long length);

    /**
     * @param fds the address of {@code count} {@code struct pollfd}
     * @param timeout the address of a {@code struct timespec}, or 0 for no limit. The kernel may write the remaining
     *     time there. With the bindings jna and jnr, libc reads the timeout, so a wrong address crashes the JVM
     */
    int ppoll(long fds, long count, long timeout);

    /** eventfd(2). */
    int eventfd(int count, int flags);

    /** epoll_create1(2). */
    int epollCreate(int flags);

    /** epoll_ctl(2). {@code event} is the address of a struct epoll_event (12 bytes on x86-64, 16 elsewhere). */
    int epollCtl(int epoll, int operation, int fd, long event);

    /** epoll_wait(2). {@code events} is the address of an array of {@code max} {@code struct epoll_event}. */
    int epollWait(int epoll, long events, int max, int timeoutMillis);

    /**
     * syscall(2). Arguments are values or addresses. Pass 0 for each that {@code call} does not take. The fifth and
     * sixth arguments are 0.
     *
     * @return {@code >= 0} or {@code -errno}
     */
    long syscall(SystemCall call, long a, long b, long c, long d);

    /** Whether calls reach this machine's kernel and not a fake. */
    default boolean isReal() {
        return true;
    }

    /** The host files of the kernel that calls reach. */
    @NotPromised
    default HostFiles hostFiles() {
        return HostFiles.at(Path.of("/"));
    }

    /**
     * Returns a native-order buffer over mapped memory. The buffer does not keep the mapping alive.
     *
     * @throws IllegalArgumentException for a length that is negative or above {@link Integer#MAX_VALUE}
     */
    ByteBuffer view(long address, long length);

    /**
     * Returns a buffer like {@link #view(long,long)}, and runs {@code unreachable} when no code refers to the buffer
     * any more.
     *
     * @param unreachable runs once, in its own thread, when no buffer or memory segment over this memory is reachable
     *     any more. It must not refer to the memory, and can run even if this method throws
     */
    default ByteBuffer view(long address, long length, Runnable unreachable) {
        ByteBuffer view = view(address, length);
        Unreachable.CLEANER.register(view, unreachable);
        return view;
    }

    /** The address of a direct buffer's position 0, valid only while the buffer is reachable. */
    long addressOf(ByteBuffer buffer);

    // With buffers

    /** open(2). {@code path} is NUL-terminated. */
    default int open(@Nullable ByteBuffer path, int flags) {
        ByteBuffer held = ArenaMemory.held(Buffers.cStringIn(path));
        try {
            return open(addressOf(held), flags, 0600);
        } finally {
            Reference.reachabilityFence(held);
        }
    }

    /** Reads up to {@code to.limit()} bytes. */
    default long read(int fd, @Nullable ByteBuffer to) {
        ByteBuffer checked = Buffers.writable(to, 0);
        ByteBuffer held = ArenaMemory.held(checked);
        try {
            long result = read(fd, addressOf(held), checked.limit());
            ArenaMemory.giveBack(held, checked, result);
            return result;
        } finally {
            Reference.reachabilityFence(held);
        }
    }

    /** Writes up to {@code from.limit()} bytes. */
    default long write(int fd, @Nullable ByteBuffer from) {
        ByteBuffer checked = Buffers.readable(from, 0);
        ByteBuffer held = ArenaMemory.held(checked);
        try {
            return write(fd, addressOf(held), checked.limit());
        } finally {
            Reference.reachabilityFence(held);
        }
    }

    /** Reads up to {@code to.limit()} bytes. */
    default long pread(int fd, @Nullable ByteBuffer to, long offset) {
        ByteBuffer checked = Buffers.writable(to, 0);
        ByteBuffer held = ArenaMemory.held(checked);
        try {
            long result = pread(fd, addressOf(held), checked.limit(), offset);
            ArenaMemory.giveBack(held, checked, result);
            return result;
        } finally {
            Reference.reachabilityFence(held);
        }
    }

    /** Writes up to {@code from.limit()} bytes. */
    default long pwrite(int fd, @Nullable ByteBuffer from, long offset) {
        ByteBuffer checked = Buffers.readable(from, 0);
        ByteBuffer held = ArenaMemory.held(checked);
        try {
            return pwrite(fd, addressOf(held), checked.limit(), offset);
        } finally {
            Reference.reachabilityFence(held);
        }
    }

    /** ioctl(2). If the request number contains a size, the buffer {@code argument} must have at least this size. */
    @SuppressWarnings("ReferenceEquality") // equal buffers are not one buffer
    default int ioctl(int fd, long request, @Nullable ByteBuffer argument) {
        ByteBuffer checked = Buffers.ioctlArgument(request, argument);
        ByteBuffer held = ArenaMemory.held(checked);
        try {
            int result = ioctl(fd, request, addressOf(held));
            if (held != checked && Buffers.isWritten(request, checked)) {
                ArenaMemory.giveBack(held, checked, checked.limit());
            }
            return result;
        } finally {
            Reference.reachabilityFence(held);
        }
    }
}
