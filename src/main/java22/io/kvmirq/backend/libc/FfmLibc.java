/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import static java.lang.foreign.ValueLayout.JAVA_INT;
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
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * libc through java.lang.foreign, on Java 22 and newer. The linker saves the errno of each call before it returns to
 * Java, so no other call changes it. No call is linked as critical: a critical call that blocks in the kernel would
 * delay every safepoint.
 */
@SuppressWarnings("restricted")
public final class FfmLibc implements Libc {
    private final PerThread<Captured> captures = new PerThread<>(Captured::new);

    /** The memory that receives the errno of a call. */
    private static final class Captured extends PerThread.Owned {
        final MemorySegment state = Arena.ofAuto().allocate(Functions.CAPTURED);
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
     * Signatures as in libc's headers, pointers and sizes as 64-bit numbers; constant, so that the JIT compiles calls.
     */
    private static final class Functions {
        static final StructLayout CAPTURED = Linker.Option.captureStateLayout();
        static final VarHandle ERRNO = CAPTURED.varHandle(MemoryLayout.PathElement.groupElement("errno"));

        static final MethodHandle OPEN = function(
                "open",
                FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT),
                Linker.Option.firstVariadicArg(2));
        static final MethodHandle CLOSE = function("close", FunctionDescriptor.of(JAVA_INT, JAVA_INT));
        static final MethodHandle FCNTL = function(
                "fcntl",
                FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT),
                Linker.Option.firstVariadicArg(2));
        static final MethodHandle READ =
                function("read", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG));
        static final MethodHandle WRITE =
                function("write", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG));
        static final MethodHandle PREAD =
                function("pread", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG));
        static final MethodHandle PWRITE =
                function("pwrite", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG));
        static final MethodHandle PREADV2 = function(
                "preadv2", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT));
        static final MethodHandle IOCTL = function(
                "ioctl",
                FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG),
                Linker.Option.firstVariadicArg(2));
        static final MethodHandle MMAP = function(
                "mmap",
                FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG));
        static final MethodHandle MUNMAP = function("munmap", FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG));
        static final MethodHandle PPOLL =
                function("ppoll", FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG));
        static final MethodHandle EVENTFD = function("eventfd", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT));
        static final MethodHandle EPOLL_CREATE1 = function("epoll_create1", FunctionDescriptor.of(JAVA_INT, JAVA_INT));
        static final MethodHandle EPOLL_CTL =
                function("epoll_ctl", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG));
        static final MethodHandle EPOLL_WAIT =
                function("epoll_wait", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT));
        static final MethodHandle SYSCALL = function(
                "syscall",
                FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG),
                Linker.Option.firstVariadicArg(1));

        private static MethodHandle function(String name, FunctionDescriptor signature, Linker.Option... options) {
            Linker.Option[] all = new Linker.Option[options.length + 1];
            System.arraycopy(options, 0, all, 0, options.length);
            all[options.length] = Linker.Option.captureCallState("errno");
            return Linker.nativeLinker().downcallHandle(find(name), signature, all);
        }

        /** Binds like the dynamic linker, not like the default lookup, so that a preloaded recorder sees the calls. */
        private static MemorySegment find(String name) {
            Linker linker = Linker.nativeLinker();
            MethodHandle dlsym = linker.downcallHandle(
                    linker.defaultLookup().find("dlsym").orElseThrow(),
                    FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.ADDRESS));
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment rtldDefault = MemorySegment.NULL;
                MemorySegment found = (MemorySegment) dlsym.invokeExact(rtldDefault, arena.allocateFrom(name));
                if (found.equals(MemorySegment.NULL)) {
                    throw new UnsatisfiedLinkError("libc has no function " + name);
                }
                return found;
            } catch (Throwable e) {
                throw unexpected(e);
            }
        }
    }

    /** A call that saves its errno in {@code state}. */
    private interface Call {
        long make(MemorySegment state) throws Throwable;
    }

    /** For a function that does not wait. The JIT inlines it into each caller, so that the lambda is not allocated. */
    private long call(Call call) {
        return call(captures.get(), call);
    }

    /** For a function that may wait. */
    private long waitingCall(Call call) {
        return call(captures.getOwn(), call);
    }

    private long call(Captured captured, Call call) {
        try {
            long result = call.make(captured.state);
            return result == -1 ? -(int) Functions.ERRNO.get(captured.state, 0L) : result;
        } catch (Throwable e) {
            throw unexpected(e);
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
        return (int) call(state -> (int) Functions.OPEN.invokeExact(state, path, flags | Uapi.O_CLOEXEC, mode));
    }

    @Override
    public int close(int fd) {
        return (int) call(state -> (int) Functions.CLOSE.invokeExact(state, fd));
    }

    @Override
    public int fcntl(int fd, int command, int argument) {
        return (int) call(state -> (int) Functions.FCNTL.invokeExact(state, fd, command, argument));
    }

    @Override
    public long read(int fd, long to, long length) {
        return waitingCall(state -> (long) Functions.READ.invokeExact(state, fd, to, length));
    }

    /** It waits only at a full eventfd that lacks O_NONBLOCK; that which ends a wait at tear-down must not fail. */
    @Override
    public long write(int fd, long from, long length) {
        return call(state -> (long) Functions.WRITE.invokeExact(state, fd, from, length));
    }

    @Override
    public long pread(int fd, long to, long length, long offset) {
        return waitingCall(state -> (long) Functions.PREAD.invokeExact(state, fd, to, length, offset));
    }

    @Override
    public long pwrite(int fd, long from, long length, long offset) {
        return waitingCall(state -> (long) Functions.PWRITE.invokeExact(state, fd, from, length, offset));
    }

    @Override
    public long preadv2(int fd, long vectors, int count, long offset, int flags) {
        return waitingCall(state -> (long) Functions.PREADV2.invokeExact(state, fd, vectors, count, offset, flags));
    }

    @Override
    public int ioctl(int fd, long request, long argument) {
        return request == Uapi.KVM_RUN
                ? (int) waitingCall(state -> (int) Functions.IOCTL.invokeExact(state, fd, request, argument))
                : (int) call(state -> (int) Functions.IOCTL.invokeExact(state, fd, request, argument));
    }

    @Override
    public long mmap(long length, int protection, int flags, int fd, long offset) {
        return call(state -> (long) Functions.MMAP.invokeExact(state, 0L, length, protection, flags, fd, offset));
    }

    @Override
    public int munmap(long address, long length) {
        return (int) call(state -> (int) Functions.MUNMAP.invokeExact(state, address, length));
    }

    @Override
    public int ppoll(long fds, long count, long timeout) {
        return (int) waitingCall(state -> (int) Functions.PPOLL.invokeExact(state, fds, count, timeout, 0L));
    }

    @Override
    public int eventfd(int count, int flags) {
        return (int) call(state -> (int) Functions.EVENTFD.invokeExact(state, count, flags | Uapi.O_CLOEXEC));
    }

    @Override
    public int epollCreate(int flags) {
        return (int) call(state -> (int) Functions.EPOLL_CREATE1.invokeExact(state, flags | Uapi.EPOLL_CLOEXEC));
    }

    @Override
    public int epollCtl(int epoll, int operation, int fd, long event) {
        return (int) call(state -> (int) Functions.EPOLL_CTL.invokeExact(state, epoll, operation, fd, event));
    }

    @Override
    public int epollWait(int epoll, long events, int max, int timeoutMillis) {
        return (int)
                waitingCall(state -> (int) Functions.EPOLL_WAIT.invokeExact(state, epoll, events, max, timeoutMillis));
    }

    @Override
    public long syscall(SystemCall call, long a, long b, long c, long d) {
        long number = call.number();
        return call == SystemCall.RT_SIGTIMEDWAIT
                ? waitingCall(state -> (long) Functions.SYSCALL.invokeExact(state, number, a, b, c, d))
                : call(state -> (long) Functions.SYSCALL.invokeExact(state, number, a, b, c, d));
    }

    @Override
    public ByteBuffer view(long address, long length) {
        return MemorySegment.ofAddress(address)
                .reinterpret(Buffers.viewLength(length))
                .asByteBuffer()
                .order(ByteOrder.nativeOrder());
    }

    @Override
    public long addressOf(ByteBuffer buffer) {
        return MemorySegment.ofBuffer(Buffers.readable(buffer, 0)).address();
    }
}
