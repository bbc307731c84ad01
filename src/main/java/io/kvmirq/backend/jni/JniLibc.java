/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.jni;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** The raw door through {@code native/door.c}. */
final class JniLibc implements Libc {
    @Override
    public int open(ByteBuffer path, int flags) {
        return Native.doorOpen(Buffers.cStringIn(path), flags);
    }

    @Override
    public int close(int fd) {
        return Native.fdClose(fd);
    }

    @Override
    public long read(int fd, ByteBuffer to) {
        return Native.doorRead(fd, Buffers.writable(to, 0), to.limit());
    }

    @Override
    public long write(int fd, ByteBuffer from) {
        return Native.doorWrite(fd, Buffers.readable(from, 0), from.limit());
    }

    @Override
    public long pread(int fd, ByteBuffer to, long offset) {
        return Native.doorPread(fd, Buffers.writable(to, 0), to.limit(), offset);
    }

    @Override
    public long pwrite(int fd, ByteBuffer from, long offset) {
        return Native.doorPwrite(fd, Buffers.readable(from, 0), from.limit(), offset);
    }

    @Override
    public int ioctl(int fd, long request, long argument) {
        return Native.doorIoctl(fd, request, argument);
    }

    @Override
    public int ioctl(int fd, long request, ByteBuffer argument) {
        return Native.doorIoctlBuffer(fd, request, Buffers.ioctlArgument(request, argument));
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
    public ByteBuffer view(long address, long length) {
        return Native.view(address, length).order(ByteOrder.nativeOrder());
    }

    @Override
    public long addressOf(ByteBuffer buffer) {
        return Native.addressOf(Buffers.readable(buffer, 0));
    }

    @Override
    public int poll(ByteBuffer fds, int count, long timeoutNanos) {
        return Native.doorPoll(Buffers.writable(fds, 8L * count), count, timeoutNanos);
    }

    @Override
    public int epollCreate() {
        return Native.doorEpollCreate();
    }

    @Override
    public int epollCtl(int epoll, int operation, int fd, int events, long data) {
        return Native.doorEpollCtl(epoll, operation, fd, events, data);
    }

    @Override
    public int epollWait(int epoll, ByteBuffer events, int max, int timeoutMillis) {
        return Native.doorEpollWait(epoll, Buffers.epollEvents(events, max), max, timeoutMillis);
    }
}
