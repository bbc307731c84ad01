/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

/**
 * libc functions as in its headers, except that pointers and sizes are 64-bit numbers. Public, because jnr-ffi
 * generates a class for this interface. {@code JnaLibc} and {@code JnrLibc} declare mmap, each with its own types.
 */
public interface LibcFunctions {
    int open(long path, int flags, int mode);

    int close(int fd);

    int fcntl(int fd, int command, int argument);

    long read(int fd, long to, long length);

    long write(int fd, long from, long length);

    long pread(int fd, long to, long length, long offset);

    long pwrite(int fd, long from, long length, long offset);

    long preadv2(int fd, long vectors, int count, long offset, int flags);

    int ioctl(int fd, long request, long argument);

    int munmap(long address, long length);

    int ppoll(long fds, long count, long timeout, long signals);

    int eventfd(int count, int flags);

    int epoll_create1(int flags);

    int epoll_ctl(int epoll, int operation, int fd, long event);

    int epoll_wait(int epoll, long events, int max, int timeout);

    long syscall(long number, long a, long b, long c, long d, long e, long f);
}
