/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.library;

import io.kvmirq.backend.Libc;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.uapi.Uapi;

/** Makes system calls by number. Source: asm/unistd_64.h of x86, asm-generic/unistd.h of arm64. */
public abstract class DirectLibc implements Libc {
    /** Makes relative paths start at the working directory. Source: linux/fcntl.h. */
    private static final int AT_FDCWD = -100;

    private static final boolean X86 = System.getProperty("os.arch", "").equals("amd64");

    /** System call numbers on x86 and arm64. */
    private enum Call {
        READ(0, 63),
        WRITE(1, 64),
        CLOSE(3, 57),
        MMAP(9, 222),
        MUNMAP(11, 215),
        IOCTL(16, 29),
        PREAD64(17, 67),
        PWRITE64(18, 68),
        FCNTL(72, 25),
        EPOLL_CTL(233, 21),
        OPENAT(257, 56),
        PPOLL(271, 73),
        EPOLL_PWAIT(281, 22),
        EVENTFD2(290, 19),
        EPOLL_CREATE1(291, 20),
        PREADV2(327, 286);

        private final int x86;
        private final int arm64;

        Call(int x86, int arm64) {
            this.x86 = x86;
            this.arm64 = arm64;
        }

        /** The number on this machine's architecture. */
        int here() {
            return X86 ? x86 : arm64;
        }
    }

    /** Makes a system call that does not wait. Returns the kernel's result, where -4095 to -1 is {@code -errno}. */
    protected abstract long call(long number, long a, long b, long c, long d, long e, long f);

    /** Makes a system call that may wait. */
    protected long waitingCall(long number, long a, long b, long c, long d, long e, long f) {
        return call(number, a, b, c, d, e, f);
    }

    @Override
    public final int open(long path, int flags, int mode) {
        return (int) call(Call.OPENAT.here(), AT_FDCWD, path, flags | Uapi.O_CLOEXEC, mode, 0, 0);
    }

    @Override
    public final int close(int fd) {
        return (int) call(Call.CLOSE.here(), fd, 0, 0, 0, 0, 0);
    }

    @Override
    public final int fcntl(int fd, int command, int argument) {
        return (int) call(Call.FCNTL.here(), fd, command, argument, 0, 0, 0);
    }

    @Override
    public final long read(int fd, long to, long length) {
        return waitingCall(Call.READ.here(), fd, to, length, 0, 0, 0);
    }

    /** Uses {@link #call}, which needs no memory, because a write that wakes threads at tear-down must not fail. */
    @Override
    public final long write(int fd, long from, long length) {
        return call(Call.WRITE.here(), fd, from, length, 0, 0, 0);
    }

    @Override
    public final long pread(int fd, long to, long length, long offset) {
        return waitingCall(Call.PREAD64.here(), fd, to, length, offset, 0, 0);
    }

    @Override
    public final long pwrite(int fd, long from, long length, long offset) {
        return waitingCall(Call.PWRITE64.here(), fd, from, length, offset, 0, 0);
    }

    /** The system call takes the offset in two words, of which a 64-bit kernel reads only the first. */
    @Override
    public final long preadv2(int fd, long vectors, int count, long offset, int flags) {
        return waitingCall(Call.PREADV2.here(), fd, vectors, count, offset, 0, flags);
    }

    @Override
    public final int ioctl(int fd, long request, long argument) {
        return (int)
                (request == Uapi.KVM_RUN
                        ? waitingCall(Call.IOCTL.here(), fd, request, argument, 0, 0, 0)
                        : call(Call.IOCTL.here(), fd, request, argument, 0, 0, 0));
    }

    @Override
    public final long mmap(long length, int protection, int flags, int fd, long offset) {
        return call(Call.MMAP.here(), 0, length, protection, flags, fd, offset);
    }

    @Override
    public final int munmap(long address, long length) {
        return (int) call(Call.MUNMAP.here(), address, length, 0, 0, 0, 0);
    }

    @Override
    public final int ppoll(long fds, long count, long timeout) {
        return (int) waitingCall(Call.PPOLL.here(), fds, count, timeout, 0, 0, 0);
    }

    @Override
    public final int eventfd(int count, int flags) {
        return (int) call(Call.EVENTFD2.here(), count, flags | Uapi.O_CLOEXEC, 0, 0, 0, 0);
    }

    @Override
    public final int epollCreate(int flags) {
        return (int) call(Call.EPOLL_CREATE1.here(), flags | Uapi.EPOLL_CLOEXEC, 0, 0, 0, 0, 0);
    }

    @Override
    public final int epollCtl(int epoll, int operation, int fd, long event) {
        return (int) call(Call.EPOLL_CTL.here(), epoll, operation, fd, event, 0, 0);
    }

    /** Calls epoll_pwait, because arm64 has no epoll_wait. */
    @Override
    public final int epollWait(int epoll, long events, int max, int timeoutMillis) {
        return (int) waitingCall(Call.EPOLL_PWAIT.here(), epoll, events, max, timeoutMillis, 0, 0);
    }

    @Override
    public final long syscall(SystemCall call, long a, long b, long c, long d) {
        return call == SystemCall.RT_SIGTIMEDWAIT
                ? waitingCall(call.number(), a, b, c, d, 0, 0)
                : call(call.number(), a, b, c, d, 0, 0);
    }
}
