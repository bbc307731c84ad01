/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.NotPromised;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.libc.LibcBackend;
import io.kvmirq.recording.tapes.TapeLine;
import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Writes a tape of every call through a {@link Libc}, by a proxy around it. If a line cannot be written, the call is
 * still made, and {@link #close} throws.
 *
 * <p>Thread-safe. Calls that cannot block are made one at a time, so their lines have the order of the kernel calls. A
 * call that may block (a poll, a read, a call on a vCPU) has its line where the call ended; KVM_RUN also has a line
 * where it began. A write may block if it would overflow the count of an eventfd without O_NONBLOCK, or if its file was
 * opened before the recording. A blocked write and the read that unblocks it may be recorded in either order.
 *
 * <pre>{@code
 * try (Recorder recorder = Recorder.of(backend, Files.newOutputStream(file));
 *         Kernel kernel = Kernel.over(recorder.backend())) { ... }
 * }</pre>
 */
@NotPromised
public final class Recorder implements Closeable {
    private final Libc libc;
    private final Libc recorded;
    private final KernelBackend backend;
    private final RecordedCalls calls;

    private Recorder(Libc libc, String name, String description, OutputStream out) {
        this.libc = libc;
        TapeWriter writer = new TapeWriter(out);
        ProcessHandle process = ProcessHandle.current();
        String architecture = System.getProperty("os.arch", "?");
        writer.write(new TapeLine.Header(
                (int) process.pid(),
                architecture.equals("amd64") ? "x86_64" : architecture,
                libc.isReal() ? System.getProperty("os.version", "?") : description,
                process.info().command().orElse("java"),
                name));
        this.calls = new RecordedCalls(libc, writer, (int) process.pid());
        this.recorded = (Libc) Proxy.newProxyInstance(
                Libc.class.getClassLoader(),
                new Class<?>[] {Libc.class},
                (proxy, method, arguments) -> call(method, arguments));
        this.backend = LibcBackend.over(recorded, name, description + ", recorded");
    }

    /** @param out closed with the recorder */
    public static Recorder of(Libc libc, String name, OutputStream out) {
        Objects.requireNonNull(name, "name is null");
        Objects.requireNonNull(out, "out is null");
        return new Recorder(libc, name, libc.toString(), out);
    }

    /**
     * Records any binding. {@link LibcBackend} encodes the typed calls, so that they pass the recorded {@link Libc}.
     * The bytes are the same, because tests compare the tapes of all bindings.
     *
     * @param out closed with the recorder
     */
    public static Recorder of(KernelBackend backend, OutputStream out) {
        Objects.requireNonNull(out, "out is null");
        return new Recorder(backend.libc(), backend.name(), backend.description(), out);
    }

    /** The recording proxy of the system calls. */
    public Libc libc() {
        return recorded;
    }

    /** A backend whose calls are recorded. */
    public KernelBackend backend() {
        return backend;
    }

    private @Nullable Object call(Method method, @Nullable Object @Nullable [] arguments) throws Throwable {
        if (arguments == null || arguments.length == 0) {
            return invoke(libc, method, arguments);
        }
        switch (method.getName()) {
            case "view", "equals", "syscall" -> {
                return invoke(libc, method, arguments);
            }
            case "addressOf" -> {
                @Nullable Object address = invoke(libc, method, arguments);
                if (address instanceof Long number && arguments[0] instanceof ByteBuffer buffer) {
                    calls.memory().known(number, buffer);
                }
                return address;
            }
            default -> {
                if (calls.mayWait(method.getName(), arguments)) {
                    return recorded(method, arguments);
                }
                synchronized (calls.order()) {
                    if (!calls.mustWait(method.getName(), arguments)) {
                        return recorded(method, arguments);
                    }
                }
                return recorded(method, arguments);
            }
        }
    }

    private static @Nullable Object invoke(Object target, Method method, @Nullable Object @Nullable [] arguments)
            throws Throwable {
        try {
            return method.invoke(target, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause() == null ? e : e.getCause();
        }
    }

    private @Nullable Object recorded(Method method, @Nullable Object[] arguments) throws Throwable {
        Capture capture = calls.begin(method.getName(), arguments);
        @Nullable Object result = invoke(libc, method, arguments);
        if (result instanceof Number number) {
            calls.end(capture, arguments, number.longValue());
        }
        return result;
    }

    /** Writes all lines so far; IOException if any could not be written. */
    public void flush() throws IOException {
        calls.flush();
    }

    /** Ends the tape. Later calls are passed on unrecorded. */
    @Override
    public void close() throws IOException {
        calls.close();
    }
}
