/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.library.NativeLibrary;
import io.kvmirq.recording.Preload;
import io.kvmirq.recording.TapeException;
import io.kvmirq.recording.TapeFiles;
import io.kvmirq.recording.TapeLine;
import io.kvmirq.recording.TapeReader;
import io.kvmirq.recording.TapeText;
import java.io.BufferedInputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.PositionalParamSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq tape}: records the kernel calls of another program and prints one line for each. */
final class TapeCommand implements Command {
    private static final String PRELOAD = "LD_PRELOAD";
    private static final String LC_ALL = "LC_ALL";

    /** Set by the launcher if it changed the locale of this JVM: the earlier LC_ALL, or empty. */
    private static final String LOCALE = "kvmirq.lc_all";

    /** Limit for the program to end after SIGTERM, and again for its calls to be printed. */
    private static final long PATIENCE_SECONDS = 10;

    /** The interval between two checks whether a process still writes. */
    private static final long LOOK_MILLIS = 100;

    /** A file cannot be read or written. Its content is not judged. */
    private static final class TapeFileException extends RuntimeException {
        private static final long serialVersionUID = 1;

        TapeFileException(String message, IOException cause) {
            super(message, cause);
        }
    }

    @Override
    public String name() {
        return "tape";
    }

    @Override
    public String summary() {
        return "Record the KVM, VFIO, iommufd and eventfd calls of a program.";
    }

    @Override
    public void describe(CommandSpec spec) {
        spec.usageMessage()
                .description(
                        "Runs CMD and prints its calls as they are made, one line each, mixed with the output of CMD."
                                + " A descriptor is shown as the file it is open on, such as vm#1 or eventfd#3. The exit"
                                + " code is that of CMD, or 3 when CMD could not be started. On SIGTERM, CMD is stopped"
                                + " and its last calls are printed. Root is needed only if CMD needs it.",
                        "",
                        "The tape holds the arguments of the calls, with zeros for known pointers. It holds no guest"
                                + " memory; a tape of selftest --record does.",
                        "",
                        "Not recorded: raw system calls, statically linked programs (Go), eventfd_read, eventfd_write,"
                                + " poll, readv, writev, close_range, the checked functions of fortified programs, and"
                                + " most calls in a chroot without /proc. A seccomp allow-list may kill CMD for a system call"
                                + " of the recorder. A signal handler of CMD needs 8 KB of stack.");
        spec.parser().stopAtPositional(true);
        spec.addOption(OptionSpec.builder("-o", "--output")
                .paramLabel("FILE")
                .type(Path.class)
                .description("Write the tape to FILE as lines of JSON, replacing it, and print nothing. --show and"
                        + " kvmirq replay read FILE. Processes that CMD leaves running are recorded too: the command ends"
                        + " when they end, or at Ctrl-C.")
                .build());
        spec.addOption(OptionSpec.builder("--show")
                .paramLabel("FILE")
                .type(Path.class)
                .description("Print the tape in FILE and run nothing. Exit code 1 when FILE is not a complete tape.")
                .build());
        spec.addPositional(PositionalParamSpec.builder()
                .paramLabel("CMD")
                .type(List.class)
                .auxiliaryTypes(String.class)
                .arity("0..*")
                .description("The program to run and its arguments. Write -- before it.")
                .build());
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        List<String> command = arguments.matchedPositionalValue(0, List.of());
        Optional<Path> shown = Optional.ofNullable(arguments.matchedOptionValue("--show", null));
        Optional<Path> output = Optional.ofNullable(arguments.matchedOptionValue("--output", null));
        CommandLine line = arguments.commandSpec().commandLine();
        if (shown.isPresent() == !command.isEmpty()) {
            throw new ParameterException(line, "Give either CMD or --show FILE");
        }
        if (shown.isPresent() && output.isPresent()) {
            throw new ParameterException(line, "--output needs a CMD and excludes --show");
        }
        try {
            return shown.map(file -> show(file, terminal)).orElseGet(() -> record(command, output, terminal));
        } catch (TapeException e) {
            terminal.err().println("kvmirq: " + e.getMessage());
            return ExitCode.FAILED;
        } catch (TapeFileException e) {
            terminal.err().println("kvmirq: " + e.getMessage());
            return ExitCode.COULD_NOT_RUN;
        }
    }

    private static int show(Path file, Terminal terminal) {
        PrintWriter out = writer(terminal);
        return print(file, () -> Files.newInputStream(file), out) == 0
                ? empty(file + " is empty", terminal)
                : ExitCode.OK;
    }

    private static int empty(String what, Terminal terminal) {
        terminal.err().println("kvmirq: " + what + ": no program wrote to it");
        return ExitCode.FAILED;
    }

    /** Buffers; the stream of the terminal flushes every line. */
    private static PrintWriter writer(Terminal terminal) {
        return new PrintWriter(terminal.out(), false, StandardCharsets.UTF_8);
    }

    private interface Opening {
        InputStream open() throws IOException;
    }

    /** @return the number of lines */
    private static long print(Path file, Opening opening, PrintWriter out) {
        long lines = 0;
        try (TapeReader reader = TapeReader.of(new BufferedInputStream(opening.open()))) {
            TapeText text = new TapeText();
            for (Optional<TapeLine> line = reader.next(); line.isPresent(); line = reader.next()) {
                out.println(text.render(line.get()));
                lines++;
            }
            return lines;
        } catch (IOException e) {
            throw new TapeFileException(FileSentence.cannotRead(file, e), e);
        } finally {
            out.flush();
        }
    }

    /** Prints each line when it is written, until the program has ended. */
    private static void printWhile(Process program, Path tape, Terminal terminal) {
        PrintWriter out = writer(terminal);
        try {
            print(tape, () -> new FollowedFile(tape, program, out::flush), out);
        } finally {
            waitFor(program);
        }
    }

    // Recording

    private static int record(List<String> command, Optional<Path> output, Terminal terminal) {
        Path recorder = NativeLibrary.recorderOfThisMachine().file();
        if (recorder.toString().matches(".*[ :].*")) {
            throw new BackendUnavailableException(
                    recorder + " cannot be preloaded: the path contains a space or a colon;"
                            + " set $XDG_CACHE_HOME or -Dkvmirq.cache to another directory");
        }
        Ending ending = new Ending();
        Runtime.getRuntime().addShutdownHook(ending);
        try {
            requireProgram(command.get(0));
            return output.map(file -> runAndFinish(command, recorder, emptied(file.toAbsolutePath()), terminal, ending))
                    .orElseGet(() -> runAndPrint(command, recorder, terminal, ending));
        } finally {
            ending.finished();
        }
    }

    /** What the library appends has addresses of the program in it: it is no tape to be kept. */
    private static int runAndFinish(List<String> command, Path recorder, Path file, Terminal terminal, Ending ending) {
        Path raw = temporary();
        try {
            int code = run(command, recorder, raw, terminal, ending, program -> {});
            awaitOthers(raw, terminal, ending);
            Preload.finish(raw, TapeFiles.replace(file));
            return code;
        } catch (IOException e) {
            throw new TapeFileException(FileSentence.cannotWrite(file, e), e);
        } finally {
            delete(raw);
        }
    }

    /** As qemu -daemonize leaves one. */
    private static void awaitOthers(Path raw, Terminal terminal, Ending ending) {
        List<Long> writers = Preload.writers(raw);
        if (!writers.isEmpty()) {
            terminal.err()
                    .println("kvmirq: process " + writers.get(0)
                            + " still runs and is recorded until it ends; Ctrl-C ends the tape now");
        }
        while (!writers.isEmpty() && !ending.hasBegun()) {
            LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(LOOK_MILLIS));
            writers = Preload.writers(raw);
        }
    }

    private static int runAndPrint(List<String> command, Path recorder, Terminal terminal, Ending ending) {
        Path tape = temporary();
        try {
            return run(command, recorder, tape, terminal, ending, program -> printWhile(program, tape, terminal));
        } finally {
            delete(tape);
        }
    }

    private static int run(
            List<String> command,
            Path recorder,
            Path tape,
            Terminal terminal,
            Ending ending,
            Consumer<Process> meanwhile) {
        ProcessBuilder builder = new ProcessBuilder(command).inheritIO();
        Map<String, String> environment = builder.environment();
        String others = environment.getOrDefault(PRELOAD, "");
        environment.put(PRELOAD, others.isEmpty() ? recorder.toString() : recorder + ":" + others);
        environment.putAll(Preload.environment(tape));
        Optional.ofNullable(System.getProperty(LOCALE)).ifPresent(locale -> {
            environment.remove(LC_ALL);
            if (!locale.isEmpty()) {
                environment.put(LC_ALL, locale);
            }
        });
        try {
            Process program = ending.start(builder);
            meanwhile.accept(program);
            int code = waitFor(program);
            boolean nothing = sayIfNothing(command, tape, terminal);
            return nothing && code == ExitCode.OK ? ExitCode.COULD_NOT_RUN : code;
        } catch (IOException e) {
            throw new TapeFileException(
                    "cannot run " + command.get(0) + ": " + (isNotFound(e) ? "not found" : e.getMessage()), e);
        }
    }

    /** Whether the message says ENOENT; JDKs word it in two ways. */
    private static boolean isNotFound(IOException e) {
        String message = String.valueOf(e.getMessage());
        return message.contains("error=2,") || message.contains("error: 2 ");
    }

    private static int waitFor(Process process) {
        while (true) {
            try {
                return process.waitFor();
            } catch (InterruptedException e) {
                // The main thread is never interrupted; only the end of the program ends the loop.
            }
        }
    }

    /**
     * The shutdown hook. It stops the recorded program, which may not have received the signal, and waits until its calls
     * are printed.
     */
    private static final class Ending extends Thread {
        private final CountDownLatch shown = new CountDownLatch(1);
        private Optional<Process> program = Optional.empty();
        private boolean begun;

        Ending() {
            super("kvmirq-stop");
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
                if (!shown.await(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
                    System.err.println("kvmirq: stopped before all calls were printed; -o keeps them in a file");
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** Called before the file is replaced: a mistyped name must not cost an earlier tape. */
    private static void requireProgram(String name) {
        boolean found = name.contains("/")
                ? Files.exists(Path.of(name))
                : Stream.of(System.getenv().getOrDefault("PATH", "").split(":"))
                        .anyMatch(directory -> Files.isExecutable(Path.of(directory, name)));
        if (!found) {
            throw new TapeFileException("cannot run " + name + ": not found", new NoSuchFileException(name));
        }
    }

    /** Every program that loads the recorder writes a line when it starts. */
    private static boolean sayIfNothing(List<String> command, Path tape, Terminal terminal) {
        boolean nothing = tape.toFile().length() == 0;
        if (nothing) {
            terminal.err()
                    .println("kvmirq: nothing was recorded: " + command.get(0)
                            + " did not load the recorder; is it statically linked, or set-user-id?");
        }
        return nothing;
    }

    private static Path emptied(Path file) {
        try {
            TapeFiles.replace(file).close();
            return file;
        } catch (IOException e) {
            throw new TapeFileException(FileSentence.cannotWrite(file, e), e);
        }
    }

    private static Path temporary() {
        try {
            Path file = Files.createTempFile("kvmirq", ".tape");
            // For a stop whose printing takes too long to reach the other deletion.
            deleteOnExit(file.toFile());
            return file;
        } catch (IOException e) {
            throw new TapeFileException(
                    "cannot make a temporary file in " + System.getProperty("java.io.tmpdir") + ": " + e, e);
        }
    }

    private static void delete(Path file) {
        File temporary = file.toFile();
        if (!temporary.delete()) {
            deleteOnExit(temporary);
        }
    }

    private static void deleteOnExit(File file) {
        try {
            file.deleteOnExit();
        } catch (IllegalStateException e) {
            // The JVM is stopping: only deleting at once remains.
        }
    }
}
