/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.recording.Recorder;
import io.kvmirq.recording.tapes.TapeFiles;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Path;
import java.util.Optional;

/**
 * Records the kernel calls of a self-test if {@code --record} is given. The file is replaced after the kernel was
 * opened, so a kernel that cannot be opened does not destroy an earlier tape. A shutdown hook completes the tape.
 */
public final class Taping implements AutoCloseable {
    private final Optional<Path> tape;
    private final Thread hook = new Thread(this::end, "kvmirq-stop");

    // Guarded by this

    private Optional<Recorder> recorder = Optional.empty();
    private Late out = new Late();
    private Runnable first = () -> {};

    public Taping(Optional<Path> tape) {
        this.tape = tape;
        Runtime.getRuntime().addShutdownHook(hook);
    }

    public boolean isAsked() {
        return tape.isPresent();
    }

    /** The backend to call: {@code backend}, with a recorder around it if one is asked for. */
    public synchronized KernelBackend over(KernelBackend backend) {
        if (tape.isPresent()) {
            out = new Late();
            recorder = Optional.of(Recorder.of(backend, out));
        }
        return recorder.map(Recorder::backend).orElse(backend);
    }

    /** Replaces the file. To be called after the kernel was opened. */
    public void begin() throws IOException {
        if (tape.isPresent()) {
            // Runs without the lock, because the hook must not wait for a file that does not open.
            OutputStream file = TapeFiles.replace(tape.get());
            synchronized (this) {
                out.begin(file);
            }
        }
    }

    /** Sets the first action of the shutdown hook. Its calls are recorded too. */
    public synchronized void beforeEnd(Runnable stop) {
        first = stop;
    }

    private void end() {
        beforeEnd().run();
        try {
            closeRecorder();
        } catch (IOException e) {
            System.err.println("kvmirq: " + FileSentence.cannotWrite(tape.orElseThrow(), e));
        }
    }

    private synchronized Runnable beforeEnd() {
        return first;
    }

    private synchronized void closeRecorder() throws IOException {
        if (recorder.isPresent()) {
            recorder.get().close();
        }
    }

    @Override
    public void close() throws IOException {
        closeRecorder();
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // The JVM is stopping: the hook is running, and the JVM ends after it.
        }
    }

    /** Keeps all output in memory until {@link #begin}. Without {@code begin} the output is dropped. */
    private static final class Late extends OutputStream {
        private Optional<OutputStream> file = Optional.empty();
        private final ByteArrayOutputStream before = new ByteArrayOutputStream();

        synchronized void begin(OutputStream to) throws IOException {
            file = Optional.of(to);
            before.writeTo(to);
            before.reset();
        }

        @Override
        public void write(int one) throws IOException {
            write(new byte[] {(byte) one}, 0, 1);
        }

        @Override
        public synchronized void write(byte[] bytes, int at, int length) throws IOException {
            file.orElse(before).write(bytes, at, length);
        }

        @Override
        public synchronized void close() throws IOException {
            file.orElse(before).close();
        }
    }
}
