/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.backend.library.NativeAccess;
import io.kvmirq.uapi.Uapi;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.function.Supplier;

/**
 * libc through java.lang.foreign, on Java 22 and newer. The linker saves the errno of each call before it returns to
 * Java, so no other call changes it. No call is linked as critical: a critical call that blocks in the kernel would
 * delay every safepoint.
 */
@SuppressWarnings("restricted")
public final class FfmLibc implements Libc {
    private final PerThread<Captured> captures = new PerThread<>(new Making());

    /** The memory that receives the errno of a call, which is all that is saved on Linux. */
    private static final class Captured extends PerThread.Owned {
        private final ByteBuffer errno =
                Buffers.allocate((int) Linker.Option.captureStateLayout().byteSize());
        final MemorySegment state = MemorySegment.ofBuffer(errno);

        int errno() {
            return errno.getInt(0);
        }
    }

    private static final class Making implements Supplier<Captured> {
        @Override
        public Captured get() {
            return new Captured();
        }
    }

    private FfmLibc() {}

    /** @throws BackendUnavailableException if native access is denied or libc lacks a function */
    public static Libc open() {
        try {
            Functions.IOCTL.type();
            return new FfmLibc();
        } catch (ExceptionInInitializerError e) {
            throw new BackendUnavailableException(
                    e.getCause() instanceof IllegalCallerException
                            ? NativeAccess.denied()
                            : "java.lang.foreign cannot link libc: " + e.getCause(),
                    e);
        }
    }

    /** The name of the library, for messages. */
    public static String description() {
        return "java.lang.foreign of Java " + Runtime.version().feature();
    }

    /**
     * Each takes six 64-bit numbers and returns one: to link a second signature takes a new JVM tens of milliseconds. In
     * the ABIs of Linux a function does not look at registers beyond its arguments, and an int is half of its register.
     * The handles are constants, so that the JIT compiles calls.
     */
    private static final class Functions {
        private static final FunctionDescriptor SIGNATURE =
                FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
        private static final Linker LINKER = Linker.nativeLinker();
        private static final Linker.Option SAVING_ERRNO = Linker.Option.captureCallState("errno");

        static final MethodHandle OPEN = function("open");
        static final MethodHandle CLOSE = function("close");
        static final MethodHandle FCNTL = function("fcntl");
        static final MethodHandle READ = function("read");
        static final MethodHandle WRITE = function("write");
        static final MethodHandle PREAD = function("pread");
        static final MethodHandle PWRITE = function("pwrite");
        static final MethodHandle PREADV2 = function("preadv2");
        static final MethodHandle IOCTL = function("ioctl");
        static final MethodHandle MMAP = function("mmap");
        static final MethodHandle MUNMAP = function("munmap");
        static final MethodHandle PPOLL = function("ppoll");
        static final MethodHandle EVENTFD = function("eventfd");
        static final MethodHandle EPOLL_CREATE1 = function("epoll_create1");
        static final MethodHandle EPOLL_CTL = function("epoll_ctl");
        static final MethodHandle EPOLL_WAIT = function("epoll_wait");
        static final MethodHandle SYSCALL = function("syscall");

        private static MethodHandle function(String name) {
            MemorySegment function = LINKER.defaultLookup()
                    .find(name)
                    .orElseThrow(() -> new UnsatisfiedLinkError("libc has no function " + name));
            return LINKER.downcallHandle(function, SIGNATURE, SAVING_ERRNO);
        }
    }

    /** For a function whose result fits an int, and which does not wait. */
    private int call(MethodHandle function, long a, long b, long c, long d) {
        return call(captures.get(), function, a, b, c, d, 0);
    }

    /** For a function whose result fits an int, and which may wait. */
    private int waitingCall(MethodHandle function, long a, long b, long c, long d, long e) {
        return call(captures.getOwn(), function, a, b, c, d, e);
    }

    private int call(Captured captured, MethodHandle function, long a, long b, long c, long d, long e) {
        try {
            int result = (int) (long) function.invokeExact(captured.state, a, b, c, d, e, 0L);
            return result == -1 ? -captured.errno() : result;
        } catch (Throwable thrown) {
            throw unexpected(thrown);
        } finally {
            captures.done(captured);
        }
    }

    private long wideCall(Captured captured, MethodHandle function, long a, long b, long c, long d, long e, long f) {
        try {
            long result = (long) function.invokeExact(captured.state, a, b, c, d, e, f);
            return result == -1 ? -captured.errno() : result;
        } catch (Throwable thrown) {
            throw unexpected(thrown);
        } finally {
            captures.done(captured);
        }
    }

    private static RuntimeException unexpected(Throwable e) {
        if (e instanceof Error error) {
            throw error;
        }
        return e instanceof RuntimeException runtime ? runtime : new IllegalStateException(e);
    }

    @Override
    public int open(long path, int flags, int mode) {
        return call(Functions.OPEN, path, flags | Uapi.O_CLOEXEC, mode, 0);
    }

    @Override
    public int close(int fd) {
        return call(Functions.CLOSE, fd, 0, 0, 0);
    }

    @Override
    public int fcntl(int fd, int command, int argument) {
        return call(Functions.FCNTL, fd, command, argument, 0);
    }

    @Override
    public long read(int fd, long to, long length) {
        return waitingCall(Functions.READ, fd, to, length, 0, 0);
    }

    /** It waits only at a full eventfd that lacks O_NONBLOCK; that which ends a wait at tear-down must not fail. */
    @Override
    public long write(int fd, long from, long length) {
        return call(Functions.WRITE, fd, from, length, 0);
    }

    @Override
    public long pread(int fd, long to, long length, long offset) {
        return waitingCall(Functions.PREAD, fd, to, length, offset, 0);
    }

    @Override
    public long pwrite(int fd, long from, long length, long offset) {
        return waitingCall(Functions.PWRITE, fd, from, length, offset, 0);
    }

    @Override
    public long preadv2(int fd, long vectors, int count, long offset, int flags) {
        return waitingCall(Functions.PREADV2, fd, vectors, count, offset, flags);
    }

    @Override
    public int ioctl(int fd, long request, long argument) {
        return request == Uapi.KVM_RUN
                ? waitingCall(Functions.IOCTL, fd, request, argument, 0, 0)
                : call(Functions.IOCTL, fd, request, argument, 0);
    }

    @Override
    public long mmap(long length, int protection, int flags, int fd, long offset) {
        return wideCall(captures.get(), Functions.MMAP, 0, length, protection, flags, fd, offset);
    }

    /** By its own function: syscall would find its last argument beyond the six numbers. */
    @Override
    public int mapZeros(long address, long length) {
        int access = Uapi.PROT_READ | Uapi.PROT_WRITE;
        return (int) Math.min(
                wideCall(captures.get(), Functions.MMAP, address, length, access, SystemCall.MAP_ZEROS, -1, 0), 0);
    }

    @Override
    public int munmap(long address, long length) {
        return call(Functions.MUNMAP, address, length, 0, 0);
    }

    @Override
    public int ppoll(long fds, long count, long timeout) {
        return waitingCall(Functions.PPOLL, fds, count, timeout, 0, 0);
    }

    @Override
    public int eventfd(int count, int flags) {
        return call(Functions.EVENTFD, count, flags | Uapi.O_CLOEXEC, 0, 0);
    }

    @Override
    public int epollCreate(int flags) {
        return call(Functions.EPOLL_CREATE1, flags | Uapi.EPOLL_CLOEXEC, 0, 0, 0);
    }

    @Override
    public int epollCtl(int epoll, int operation, int fd, long event) {
        return call(Functions.EPOLL_CTL, epoll, operation, fd, event);
    }

    @Override
    public int epollWait(int epoll, long events, int max, int timeoutMillis) {
        return waitingCall(Functions.EPOLL_WAIT, epoll, events, max, timeoutMillis, 0);
    }

    @Override
    public long syscall(SystemCall call, long a, long b, long c, long d) {
        Captured captured = call == SystemCall.RT_SIGTIMEDWAIT ? captures.getOwn() : captures.get();
        return wideCall(captured, Functions.SYSCALL, call.number(), a, b, c, d, 0);
    }

    @Override
    public ByteBuffer view(long address, long length) {
        return MemorySegment.ofAddress(address)
                .reinterpret(Buffers.viewLength(length))
                .asByteBuffer()
                .order(ByteOrder.nativeOrder());
    }

    /** Segments of a buffer keep the arena, and not the buffer. */
    @Override
    public ByteBuffer view(long address, long length, Runnable unreachable) {
        return MemorySegment.ofAddress(address)
                .reinterpret(Buffers.viewLength(length), Arena.ofAuto(), ignored -> unreachable.run())
                .asByteBuffer()
                .order(ByteOrder.nativeOrder());
    }

    @Override
    public long addressOf(ByteBuffer buffer) {
        return MemorySegment.ofBuffer(Buffers.readable(buffer, 0)).address();
    }
}
