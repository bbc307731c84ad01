/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.jni;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** The raw door through {@code native/door.c}. */
final class JniLibc implements Libc {
    @Override
    public int open(long path, int flags, int mode) {
        return Native.doorOpen(path, flags, mode);
    }

    @Override
    public int close(int fd) {
        return Native.fdClose(fd);
    }

    @Override
    public int fcntl(int fd, int command, int argument) {
        return Native.doorFcntl(fd, command, argument);
    }

    @Override
    public long read(int fd, long to, long length) {
        return Native.doorRead(fd, to, length);
    }

    @Override
    public long write(int fd, long from, long length) {
        return Native.doorWrite(fd, from, length);
    }

    @Override
    public long pread(int fd, long to, long length, long offset) {
        return Native.doorPread(fd, to, length, offset);
    }

    @Override
    public long pwrite(int fd, long from, long length, long offset) {
        return Native.doorPwrite(fd, from, length, offset);
    }

    @Override
    public long preadv2(int fd, long vectors, int count, long offset, int flags) {
        return Native.doorPreadv2(fd, vectors, count, offset, flags);
    }

    @Override
    public int ioctl(int fd, long request, long argument) {
        return Native.doorIoctl(fd, request, argument);
    }

    @Override
    public long mmap(long length, int protection, int flags, int fd, long offset) {
        return Native.doorMmap(length, protection, flags, fd, offset);
    }

    @Override
    public int munmap(long address, long length) {
        return Native.doorMunmap(address, length);
    }

    @Override
    public int ppoll(long fds, long count, long timeout) {
        return Native.doorPpoll(fds, count, timeout);
    }

    @Override
    public int eventfd(int count, int flags) {
        return Native.doorEventfd(count, flags);
    }

    @Override
    public int epollCreate(int flags) {
        return Native.doorEpollCreate(flags);
    }

    @Override
    public int epollCtl(int epoll, int operation, int fd, long event) {
        return Native.doorEpollCtl(epoll, operation, fd, event);
    }

    @Override
    public int epollWait(int epoll, long events, int max, int timeoutMillis) {
        return Native.doorEpollWait(epoll, events, max, timeoutMillis);
    }

    @Override
    public ByteBuffer view(long address, long length) {
        return Native.view(address, length).order(ByteOrder.nativeOrder());
    }

    @Override
    public long addressOf(ByteBuffer buffer) {
        return Native.addressOf(Buffers.readable(buffer, 0));
    }
}
