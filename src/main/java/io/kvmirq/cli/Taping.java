/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.recording.Recorder;
import io.kvmirq.recording.TapeFiles;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Path;
import java.util.Optional;

/**
 * Records what the kernel is asked, if that was asked for: in a file that is opened when the kernel was, so that a kernel that
 * refuses costs no earlier tape. It is whole also when this program is told to end.
 */
final class Taping implements AutoCloseable {
    private final Optional<Path> tape;
    private final Thread hook = new Thread(this::end, "kvmirq-stop");

    // Guarded by this

    private Optional<Recorder> recorder = Optional.empty();
    private Late out = new Late();
    private Runnable first = () -> {};

    Taping(Optional<Path> tape) {
        this.tape = tape;
        Runtime.getRuntime().addShutdownHook(hook);
    }

    boolean isAsked() {
        return tape.isPresent();
    }

    /** What to call so as to be recorded; once more for another kernel, the one before having refused. */
    synchronized KernelBackend over(KernelBackend backend) {
        if (tape.isPresent()) {
            out = new Late();
            recorder = Optional.of(Recorder.of(backend, out));
        }
        return recorder.map(Recorder::backend).orElse(backend);
    }

    /** The kernel was opened: replaces the file. */
    synchronized void begin() throws IOException {
        if (tape.isPresent()) {
            out.begin(TapeFiles.replace(tape.get()));
        }
    }

    /** What to do first when this program is told to end: its calls are recorded too. */
    synchronized void beforeEnd(Runnable stop) {
        first = stop;
    }

    private void end() {
        beforeEnd().run();
        try {
            closeRecorder();
        } catch (IOException e) {
            System.err.println("kvmirq: cannot write " + tape.orElseThrow() + ": " + e);
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
            // Shutting down: the hook runs and the JVM ends after it.
        }
    }

    /** Keeps what is written until it is known where to; where that never was, it is dropped. */
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
