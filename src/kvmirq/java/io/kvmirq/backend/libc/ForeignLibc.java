/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import io.kvmirq.backend.Libc;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.uapi.Uapi;

/** Calls libc through a library that calls C functions and saves each call's errno for the calling thread. */
abstract class ForeignLibc implements Libc {
    private final LibcFunctions functions;

    ForeignLibc(LibcFunctions functions) {
        this.functions = functions;
    }

    abstract int errno();

    final int result(int result) {
        return result == -1 ? -errno() : result;
    }

    final long result(long result) {
        return result == -1 ? -errno() : result;
    }

    @Override
    public int open(long path, int flags, int mode) {
        return result(functions.open(path, flags | Uapi.O_CLOEXEC, mode));
    }

    @Override
    public int close(int fd) {
        return result(functions.close(fd));
    }

    @Override
    public int fcntl(int fd, int command, int argument) {
        return result(functions.fcntl(fd, command, argument));
    }

    @Override
    public long read(int fd, long to, long length) {
        return result(functions.read(fd, to, length));
    }

    @Override
    public long write(int fd, long from, long length) {
        return result(functions.write(fd, from, length));
    }

    @Override
    public long pread(int fd, long to, long length, long offset) {
        return result(functions.pread(fd, to, length, offset));
    }

    @Override
    public long pwrite(int fd, long from, long length, long offset) {
        return result(functions.pwrite(fd, from, length, offset));
    }

    @Override
    public long preadv2(int fd, long vectors, int count, long offset, int flags) {
        return result(functions.preadv2(fd, vectors, count, offset, flags));
    }

    @Override
    public int ioctl(int fd, long request, long argument) {
        return result(functions.ioctl(fd, request, argument));
    }

    @Override
    public int munmap(long address, long length) {
        return result(functions.munmap(address, length));
    }

    @Override
    public int ppoll(long fds, long count, long timeout) {
        return result(functions.ppoll(fds, count, timeout, 0));
    }

    @Override
    public int eventfd(int count, int flags) {
        return result(functions.eventfd(count, flags | Uapi.O_CLOEXEC));
    }

    @Override
    public int epollCreate(int flags) {
        return result(functions.epoll_create1(flags | Uapi.EPOLL_CLOEXEC));
    }

    @Override
    public int epollCtl(int epoll, int operation, int fd, long event) {
        return result(functions.epoll_ctl(epoll, operation, fd, event));
    }

    @Override
    public int epollWait(int epoll, long events, int max, int timeoutMillis) {
        return result(functions.epoll_wait(epoll, events, max, timeoutMillis));
    }

    @Override
    public long syscall(SystemCall call, long a, long b, long c, long d) {
        return result(functions.syscall(call.number(), a, b, c, d, 0, 0));
    }
}
