/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.jni;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.SystemCall;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** The system calls, implemented by {@code native/bridge/sys.c}. */
final class JniLibc implements Libc {
    @Override
    public native int open(long path, int flags, int mode);

    @Override
    public native int close(int fd);

    @Override
    public native int fcntl(int fd, int command, int argument);

    @Override
    public native long read(int fd, long to, long length);

    @Override
    public native long write(int fd, long from, long length);

    @Override
    public native long pread(int fd, long to, long length, long offset);

    @Override
    public native long pwrite(int fd, long from, long length, long offset);

    @Override
    public native long preadv2(int fd, long vectors, int count, long offset, int flags);

    @Override
    public native int ioctl(int fd, long request, long argument);

    @Override
    public native long mmap(long length, int protection, int flags, int fd, long offset);

    @Override
    public native int munmap(long address, long length);

    @Override
    public native int ppoll(long fds, long count, long timeout);

    @Override
    public native int eventfd(int count, int flags);

    @Override
    public native int epollCreate(int flags);

    @Override
    public native int epollCtl(int epoll, int operation, int fd, long event);

    @Override
    public native int epollWait(int epoll, long events, int max, int timeoutMillis);

    @Override
    public long syscall(SystemCall call, long a, long b, long c, long d) {
        return syscall(call.number(), a, b, c, d);
    }

    private native long syscall(long number, long a, long b, long c, long d);

    @Override
    public ByteBuffer view(long address, long length) {
        return newBuffer(address, Buffers.viewLength(length)).order(ByteOrder.nativeOrder());
    }

    @Override
    public long addressOf(ByteBuffer buffer) {
        return addressOfChecked(Buffers.readable(buffer, 0));
    }

    // Bound by name when the library is loaded; callers have checked the buffers

    private static native ByteBuffer newBuffer(long address, long len);

    private static native long addressOfChecked(ByteBuffer buffer);
}
