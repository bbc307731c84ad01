/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.library.DirectLibc;
import io.kvmirq.backend.library.NativeAccess;
import io.kvmirq.backend.library.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import java.util.function.BiFunction;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * System calls through java.lang.foreign, on Java 22 and newer: by {@code kvmirq_call} where our library loads, else by
 * libc's syscall(2), whose errno the linker saves before another call changes it. No call is linked as critical: one that
 * blocks in the kernel would delay every safepoint, and it is not faster.
 */
@SuppressWarnings("restricted")
public final class FfmLibc extends DirectLibc {
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

    /** @throws BackendUnavailableException if native access is denied, or our library and libc cannot be used */
    public static Libc open() {
        try {
            Functions.CALLEE.length();
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
        return "java.lang.foreign of Java " + Runtime.version().feature() + ", " + Functions.CALLEE;
    }

    /** Constants, so that the JIT compiles calls. Each takes seven 64-bit numbers and returns one. */
    private static final class Functions {
        private static final FunctionDescriptor SIGNATURE = FunctionDescriptor.of(
                JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
        private static final Linker LINKER = Linker.nativeLinker();

        static final @Nullable MethodHandle OURS;
        static final @Nullable MethodHandle LIBC;
        static final String CALLEE;

        static {
            @Nullable MethodHandle ours = null;
            String callee = "kvmirq_call";
            try {
                ours = LINKER.downcallHandle(NativeLibrary.ofThisMachine().load(new Loading()), SIGNATURE);
            } catch (BackendUnavailableException e) {
                callee = "libc";
            }
            OURS = ours;
            CALLEE = callee;
            LIBC = ours != null
                    ? null
                    : LINKER.downcallHandle(
                            LINKER.defaultLookup().find("syscall").orElseThrow(),
                            SIGNATURE,
                            Linker.Option.captureCallState("errno"));
        }
    }

    private static final class Loading implements BiFunction<Path, List<String>, MemorySegment> {
        @Override
        public MemorySegment apply(Path file, List<String> refused) {
            return SymbolLookup.loaderLookup()
                    .find("kvmirq_call")
                    .orElseThrow(() -> new BackendUnavailableException(file + " has no function kvmirq_call"));
        }
    }

    @Override
    protected long call(long number, long a, long b, long c, long d, long e, long f) {
        return Functions.OURS != null ? ours(number, a, b, c, d, e, f) : libc(captures.get(), number, a, b, c, d, e, f);
    }

    @Override
    protected long waitingCall(long number, long a, long b, long c, long d, long e, long f) {
        return Functions.OURS != null
                ? ours(number, a, b, c, d, e, f)
                : libc(captures.getOwn(), number, a, b, c, d, e, f);
    }

    private static long ours(long number, long a, long b, long c, long d, long e, long f) {
        try {
            return (long) Functions.OURS.invokeExact(number, a, b, c, d, e, f);
        } catch (Throwable thrown) {
            throw unexpected(thrown);
        }
    }

    private long libc(Captured captured, long number, long a, long b, long c, long d, long e, long f) {
        try {
            long result = (long) Functions.LIBC.invokeExact(captured.state, number, a, b, c, d, e, f);
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
