/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.library.NativeLibrary;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.OtherProgram;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.cli.frame.UnreadableInputException;
import io.kvmirq.recording.Preload;
import io.kvmirq.recording.SlotFile;
import io.kvmirq.recording.tapes.TapeException;
import io.kvmirq.recording.tapes.TapeFiles;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * A program that runs with the recorder. From the constructor to {@link #close}, a signal that ends this command stops
 * the program first and waits until its calls are printed. For one thread.
 */
final class TapedProgram implements AutoCloseable {
    private static final String PRELOAD = "LD_PRELOAD";

    /** Limit for the program to end after SIGTERM, and again for its calls to be printed. */
    private static final long PATIENCE_SECONDS = 10;

    /** Limit for a tape to be written to its file, which must keep all calls. */
    private static final long WRITING_SECONDS = 60;

    private static final long LOOK_MILLIS = 20;
    private static final long LOOK_AT_OTHERS_MILLIS = 100;

    private final List<String> command;
    private final Terminal terminal;
    private final Path recorder = NativeLibrary.recorderOfThisMachine().file();
    private final Ending ending = new Ending();
    private boolean toldOfOthers;

    /** @throws UnreadableInputException when there is no such program: a mistyped name must not cost an earlier tape */
    TapedProgram(List<String> command, Terminal terminal) {
        this.command = command;
        this.terminal = terminal;
        if (recorder.toString().matches(".*[ :].*")) {
            throw new BackendUnavailableException(
                    recorder + " cannot be preloaded: the path contains a space or a colon;"
                            + " set $XDG_CACHE_HOME or -Dkvmirq.cache to another directory");
        }
        if (StaticProgram.is(OtherProgram.find(command.get(0)))) {
            terminal.complain(command.get(0) + " is statically linked: the recorder is a library that is loaded into"
                    + " programs, so only dynamically linked programs that it starts are recorded");
        }
        Runtime.getRuntime().addShutdownHook(ending);
    }

    @Override
    public void close() {
        ending.finished();
    }

    /**
     * Runs the program and writes its tape meanwhile. What the recorder appends has addresses of the program in it: it
     * is no tape to be kept.
     *
     * @param raw to which the recorder appends
     */
    int runAndFinish(Path raw, Path file) {
        try (OutputStream tape = TapeFiles.replace(file)) {
            ending.writes(file);
            Process program = start(raw);
            try {
                long calls = Preload.finish(
                        flush -> new SlotFile(raw, () -> hasEnded(program) && haveOthersEnded(raw), flush), tape);
                return code(OtherProgram.waitFor(program), raw, calls);
            } catch (TapeException e) {
                return codeOfCut(OtherProgram.waitFor(program), "the tape " + FileSentence.shown(file), e);
            } finally {
                OtherProgram.waitFor(program);
            }
        } catch (IOException e) {
            throw new TapeFileException(FileSentence.cannotWrite(file, e), e);
        }
    }

    /** Waits a moment for the end. */
    private static boolean hasEnded(Process program) {
        try {
            return program.waitFor(LOOK_MILLIS, TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            // The main thread is never interrupted; only the end of the process ends the loop.
            return false;
        }
    }

    /** Waits a moment for processes that the program left running, as qemu -daemonize does. */
    private boolean haveOthersEnded(Path raw) {
        List<Long> writers = Preload.writers(raw);
        if (writers.isEmpty() || ending.hasBegun()) {
            return true;
        }
        if (!toldOfOthers) {
            toldOfOthers = true;
            terminal.complain("process " + writers.get(0)
                    + " still runs and is recorded until it ends; Ctrl-C ends the tape now");
        }
        LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(LOOK_AT_OTHERS_MILLIS));
        return false;
    }

    /**
     * Runs the program and prints each line of its tape when it is written.
     *
     * @param raw to which the recorder appends
     */
    int runAndPrint(Path raw) {
        Process program = start(raw);
        TapePrinter printer = new TapePrinter(terminal);
        try {
            printer.print(raw, () -> new SlotFile(raw, () -> hasEnded(program), printer::flush));
            return code(OtherProgram.waitFor(program), raw, printer.calls());
        } catch (TapeException e) {
            return codeOfCut(OtherProgram.waitFor(program), "the output", e);
        } finally {
            OtherProgram.waitFor(program);
        }
    }

    private Process start(Path tape) {
        ProcessBuilder builder = new ProcessBuilder(command).inheritIO();
        Map<String, String> environment = builder.environment();
        String others = environment.getOrDefault(PRELOAD, "");
        environment.put(PRELOAD, others.isEmpty() ? recorder.toString() : recorder + ":" + others);
        environment.putAll(Preload.environment(tape));
        OtherProgram.restoreLocale(environment);
        try {
            return ending.start(builder);
        } catch (IOException e) {
            throw new TapeFileException(
                    "cannot run " + command.get(0) + ": " + (isNotFound(e) ? "not found" : e.getMessage()), e);
        }
    }

    /** Every program that loads the recorder writes a line when it starts. */
    private int code(int code, Path raw, long calls) {
        if (SlotFile.isEmpty(raw)) {
            terminal.complain("nothing was recorded: " + command.get(0)
                    + " did not load the recorder; is it set-user-id, or a script for a static program?");
            return code == ExitCode.OK ? ExitCode.COULD_NOT_RUN : code;
        }
        if (calls == 0) {
            terminal.complain("no call was recorded: " + command.get(0)
                    + " made none, or started a program that did not load the recorder; does that run as a user who"
                    + " cannot read " + recorder + ", or is it statically linked, or set-user-id?");
        }
        return code;
    }

    private int codeOfCut(int code, String what, TapeException e) {
        if (!e.isCut()) {
            throw e;
        }
        terminal.complain(what + " is incomplete: its last line is cut, as by a full disk or a limit on file sizes");
        return code;
    }

    /** Whether the message says ENOENT; JDKs word it in two ways. */
    private static boolean isNotFound(IOException e) {
        String message = String.valueOf(e.getMessage());
        return message.contains("error=2,") || message.contains("error: 2 ");
    }

    /**
     * The shutdown hook. It stops the recorded program, which may not have received the signal, and waits until its
     * calls are printed.
     */
    private static final class Ending extends Thread {
        private final CountDownLatch shown = new CountDownLatch(1);
        private Optional<Process> program = Optional.empty();
        private Optional<Path> file = Optional.empty();
        private boolean begun;

        Ending() {
            super("kvmirq-stop");
        }

        synchronized void writes(Path tape) {
            file = Optional.of(tape);
        }

        private synchronized Optional<Path> file() {
            return file;
        }

        synchronized Process start(ProcessBuilder builder) throws IOException {
            if (begun) {
                throw new IOException("kvmirq is being stopped");
            }
            Process process = builder.start();
            program = Optional.of(process);
            return process;
        }

        synchronized boolean hasBegun() {
            return begun;
        }

        private synchronized Optional<Process> begin() {
            begun = true;
            return program;
        }

        void finished() {
            shown.countDown();
            try {
                Runtime.getRuntime().removeShutdownHook(this);
            } catch (IllegalStateException e) {
                // The hook is running already, and ends now.
            }
        }

        @Override
        public void run() {
            try {
                Optional<Process> process = begin();
                process.ifPresent(Process::destroy);
                if (process.isPresent() && !process.get().waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
                    process.get().destroyForcibly();
                }
                long patience = file().isPresent() ? WRITING_SECONDS : PATIENCE_SECONDS;
                if (!shown.await(patience, TimeUnit.SECONDS)) {
                    System.err.println("kvmirq: " + late(file()));
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** @param file to which the tape is written; empty if it is printed */
    static String late(Optional<Path> file) {
        return file.map(tape -> "stopped before the whole tape was written: " + FileSentence.shown(tape)
                        + " lacks its last calls and its end")
                .orElse("stopped before all calls were printed; -o keeps them in a file");
    }
}
