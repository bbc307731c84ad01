/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.nio.ByteBuffer;

/**
 * The raw door: the system calls themselves. {@code >= 0} or {@code -errno}; the caller encodes what a buffer holds.
 *
 * <p>Buffers must be direct, at position 0, and writable where the kernel writes, else
 * {@link IllegalArgumentException}; the kernel is told no more bytes than {@code limit()}. Thread-safe.
 */
public interface Libc {
    /** open(2) with O_CLOEXEC; {@code path} NUL-terminated. */
    int open(ByteBuffer path, int flags);

    int close(int fd);

    long read(int fd, ByteBuffer to);

    long write(int fd, ByteBuffer from);

    long pread(int fd, ByteBuffer to, long offset);

    long pwrite(int fd, ByteBuffer from, long offset);

    /** @param request the full number, zero-extended from 32 bits */
    int ioctl(int fd, long request, long argument);

    /** The argument's size is in the request where the kernel encodes it, and is checked against the buffer. */
    int ioctl(int fd, long request, ByteBuffer argument);

    /** The address, or {@code -errno}. */
    long mmap(long length, int protection, int flags, int fd, long offset);

    int munmap(long address, long length);

    /** A buffer in native order over mapped memory. It does not keep the mapping alive. */
    ByteBuffer view(long address, long length);

    /** Where a direct buffer's position 0 lies; good only while the buffer is reachable. */
    long addressOf(ByteBuffer buffer);

    /** @param fds {@code count} {@code struct pollfd} of 8 bytes */
    int poll(ByteBuffer fds, int count, long timeoutNanos);

    int epollCreate();

    int epollCtl(int epoll, int operation, int fd, int events, long data);

    /** @param events room for {@code max} {@code struct epoll_event} (12 bytes on x86-64, 16 elsewhere) */
    int epollWait(int epoll, ByteBuffer events, int max, int timeoutMillis);
}
