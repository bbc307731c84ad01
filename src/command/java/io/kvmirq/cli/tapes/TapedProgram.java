/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.OtherProgram;
import io.kvmirq.cli.frame.RunningProgram;
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
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * A program that runs with the recorder. From the constructor to {@link #close}, a signal that ends this command stops
 * the program first and waits until its calls are printed. For one thread.
 */
final class TapedProgram implements AutoCloseable {
    /** The time limit for printing its calls after it was stopped. */
    private static final long PRINTING_SECONDS = 10;

    /** The time limit for writing a tape to its file, which must contain all calls. */
    private static final long WRITING_SECONDS = 60;

    private static final long LOOK_MILLIS = 20;
    private static final long LOOK_AT_OTHERS_MILLIS = 100;

    private final List<String> command;
    private final long limit;
    private final Terminal terminal;
    private final ProgramRecorder recorder;
    private final RunningProgram running;
    /** The latch that opens when all calls are printed or written. */
    private final CountDownLatch shown = new CountDownLatch(1);
    /** The file to which the tape is written; empty if the tape is printed. */
    private volatile Optional<Path> file = Optional.empty();

    private boolean toldOfOthers;

    /**
     * @param limit bytes of memory for the calls that were not read yet
     * @param traced whether it is recorded by ptrace, so that it can be a static program
     * @throws UnreadableInputException when there is no such program: a mistyped name must not cost an earlier tape
     */
    TapedProgram(List<String> command, long limit, boolean traced, Terminal terminal) {
        this.command = command;
        this.limit = limit;
        this.terminal = terminal;
        String program = command.get(0);
        boolean isStatic = StaticProgram.is(OtherProgram.find(program));
        this.recorder = traced ? new TracingRecorder(program) : new PreloadedRecorder();
        if (isStatic && !traced) {
            terminal.complain(program + " is statically linked: the recorder is a library that is loaded into"
                    + " programs, so only dynamically linked programs that it starts are recorded; --ptrace records it,"
                    + " and makes each call take about " + TapeCommand.PTRACE_COST + " longer");
        }
        this.running = new RunningProgram(this::awaitShown);
    }

    @Override
    public void close() {
        shown.countDown();
        running.close();
        recorder.close();
    }

    private void awaitShown() throws InterruptedException {
        long patience = file.isPresent() ? WRITING_SECONDS : PRINTING_SECONDS;
        if (!shown.await(patience, TimeUnit.SECONDS)) {
            System.err.println("kvmirq: " + late(file));
        }
    }

    /**
     * Runs the program and writes its tape meanwhile. The recorder's lines contain addresses of the program, so they
     * are rewritten for the tape.
     *
     * @param memory to which the recorder appends
     */
    int runAndFinish(TemporaryTape memory, Path to) {
        Path raw = memory.file();
        try (OutputStream tape = TapeFiles.replace(to)) {
            file = Optional.of(to);
            Process program = start(raw);
            try {
                long calls = Preload.finish(
                        flush -> new SlotFile(
                                raw, memory::release, () -> hasEnded(program) && haveOthersEnded(raw), flush),
                        tape);
                return code(OtherProgram.waitFor(program), raw, calls);
            } catch (TapeException e) {
                return codeOfCut(OtherProgram.waitFor(program), "the tape " + FileSentence.shown(to), e);
            } finally {
                OtherProgram.waitFor(program);
            }
        } catch (IOException e) {
            throw new TapeFileException(FileSentence.cannotWrite(to, e), e);
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
        if (writers.isEmpty() || running.isStopped()) {
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
     * @param memory to which the recorder appends
     */
    int runAndPrint(TemporaryTape memory) {
        Path raw = memory.file();
        Process program = start(raw);
        TapePrinter printer = new TapePrinter(terminal);
        try {
            printer.print(raw, () -> new SlotFile(raw, memory::release, () -> hasEnded(program), printer::flush));
            return code(OtherProgram.waitFor(program), raw, printer.calls());
        } catch (TapeException e) {
            return codeOfCut(OtherProgram.waitFor(program), "the output", e);
        } finally {
            OtherProgram.waitFor(program);
        }
    }

    private Process start(Path tape) {
        try {
            ProcessBuilder builder = recorder.builder(command, tape, limit).inheritIO();
            OtherProgram.restoreLocale(builder.environment());
            return running.start(builder);
        } catch (IOException e) {
            throw new TapeFileException("cannot run " + command.get(0) + ": " + why(e), e);
        }
    }

    /** Every recorded program writes a line when it starts. */
    private int code(int code, Path raw, long calls) {
        String program = command.get(0);
        if (SlotFile.isEmpty(raw)) {
            recorder.requireStarted(program);
            terminal.complain("nothing was recorded: " + recorder.whyNothing(program));
            return code == ExitCode.OK ? ExitCode.COULD_NOT_RUN : code;
        }
        if (calls == 0) {
            terminal.complain("no call was recorded: " + recorder.whyNoCall(program));
        }
        return code;
    }

    private int codeOfCut(int code, String what, TapeException e) {
        if (!e.isCut()) {
            throw e;
        }
        terminal.complain(
                what + " is incomplete: its last line is cut, as by --limit, a full disk or a limit on file sizes");
        return code;
    }

    /** JDKs use two texts for an errno. */
    private static String why(IOException e) {
        String message = String.valueOf(e.getMessage());
        if (message.contains("error=2,") || message.contains("error: 2 ")) {
            return "not found";
        }
        return message.contains("error=13,") || message.contains("error: 13 ")
                ? "permission denied; chmod +x lets a file run"
                : message;
    }

    /** @param file to which the tape is written; empty if it is printed */
    static String late(Optional<Path> file) {
        return file.map(tape -> "stopped before the whole tape was written: " + FileSentence.shown(tape)
                        + " lacks its last calls and its end")
                .orElse("stopped before all calls were printed; -o keeps them in a file");
    }
}
