/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.NativeLibrary;
import io.kvmirq.recording.TapeException;
import io.kvmirq.recording.TapeFiles;
import io.kvmirq.recording.TapeLine;
import io.kvmirq.recording.TapeReader;
import io.kvmirq.recording.TapeText;
import java.io.BufferedInputStream;
import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
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
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.PositionalParamSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq tape}: the kernel calls of another program, one readable line each. */
final class TapeCommand implements Command {
    private static final String PRELOAD = "LD_PRELOAD";
    private static final String TAPE = "KVMIRQ_TAPE";

    /** For the program to end when told to, and as long again for its calls to be printed. */
    private static final long PATIENCE_SECONDS = 10;

    /** The file cannot be read or written, which is no finding about its content. */
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
                        "Runs CMD with its calls recorded, then prints them, a line each. Descriptors are shown as"
                                + " what they were open on, such as vm#1 or eventfd#3. The exit code is CMD's; 3 when"
                                + " it could not be started. Ended by a signal, it ends CMD and still prints. Needs no"
                                + " root but what CMD needs.",
                        "",
                        "A tape made here holds the arguments of calls: no guest memory, and zeros for known pointers."
                                + " One of selftest --record holds what was written into its guests too.",
                        "",
                        "Not seen: raw system calls and statically linked programs (Go), eventfd_read, eventfd_write,"
                                + " poll, readv, writev, close_range, the checked functions of fortified programs, and"
                                + " most calls in a chroot without /proc. A program under a seccomp allow-list may be"
                                + " killed for what recording calls, and a signal handler needs 8 KB of stack.");
        spec.parser().stopAtPositional(true);
        spec.addOption(OptionSpec.builder("-o", "--output")
                .paramLabel("FILE")
                .type(Path.class)
                .description("Write the tape to FILE, replacing it, and print nothing: lines of JSON, for --show and"
                        + " kvmirq replay. What CMD started and left running goes on writing to it.")
                .build());
        spec.addOption(OptionSpec.builder("--show")
                .paramLabel("FILE")
                .type(Path.class)
                .description("Print the tape in FILE; run nothing. Exit code 1 when it is not a whole tape.")
                .build());
        spec.addPositional(PositionalParamSpec.builder()
                .paramLabel("CMD")
                .type(List.class)
                .auxiliaryTypes(String.class)
                .arity("0..*")
                .description("The program to run and its arguments, best after --.")
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
            throw new ParameterException(line, "--output is for a CMD to record, not for --show");
        }
        try {
            return shown.map(file -> show(file, terminal)).orElseGet(() -> record(command, output, terminal));
        } catch (TapeException e) {
            terminal.err().println("kvmirq: " + e.getMessage());
            return ExitCode.FAILED;
        } catch (TapeFileException e) {
            terminal.err().println("kvmirq: " + e.getMessage());
            return ExitCode.COULD_NOT_LOOK;
        }
    }

    private static int show(Path file, Terminal terminal) {
        return print(file, terminal.out()) == 0 ? empty(file + " is empty", terminal) : ExitCode.OK;
    }

    private static int empty(String what, Terminal terminal) {
        terminal.err().println("kvmirq: " + what + ": no program wrote to it");
        return ExitCode.FAILED;
    }

    /** @return the number of lines */
    private static long print(Path file, PrintStream out) {
        long lines = 0;
        // The terminal's own stream flushes every line.
        PrintWriter writer = new PrintWriter(out, false, StandardCharsets.UTF_8);
        try (TapeReader reader = TapeReader.of(new BufferedInputStream(Files.newInputStream(file)))) {
            TapeText text = new TapeText();
            for (Optional<TapeLine> line = reader.next(); line.isPresent(); line = reader.next()) {
                writer.println(text.render(line.get()));
                lines++;
            }
            return lines;
        } catch (IOException e) {
            throw new TapeFileException("cannot read " + file + ": " + reason(e), e);
        } finally {
            writer.flush();
        }
    }

    private static String reason(IOException e) {
        return e instanceof NoSuchFileException ? "no such file" : e.toString();
    }

    // Recording

    private static int record(List<String> command, Optional<Path> output, Terminal terminal) {
        Path recorder = NativeLibrary.recorderOfThisMachine().file();
        if (recorder.toString().matches(".*[ :].*")) {
            throw new BackendUnavailableException(recorder + " cannot be preloaded: the path holds a space or a colon;"
                    + " set $XDG_CACHE_HOME or -Dkvmirq.cache to another place");
        }
        Ending ending = new Ending();
        Runtime.getRuntime().addShutdownHook(ending);
        try {
            requireProgram(command.get(0));
            return output.map(file -> run(command, recorder, emptied(file.toAbsolutePath()), terminal, ending))
                    .orElseGet(() -> runAndPrint(command, recorder, terminal, ending));
        } finally {
            ending.finished();
        }
    }

    private static int runAndPrint(List<String> command, Path recorder, Terminal terminal, Ending ending) {
        Path tape = temporary();
        try {
            int code = run(command, recorder, tape, terminal, ending);
            print(tape, terminal.out());
            return code;
        } finally {
            delete(tape);
        }
    }

    private static int run(List<String> command, Path recorder, Path tape, Terminal terminal, Ending ending) {
        ProcessBuilder builder = new ProcessBuilder(command).inheritIO();
        Map<String, String> environment = builder.environment();
        String others = environment.getOrDefault(PRELOAD, "");
        environment.put(PRELOAD, others.isEmpty() ? recorder.toString() : recorder + ":" + others);
        environment.put(TAPE, tape.toString());
        try {
            int code = waitFor(ending.start(builder));
            boolean nothing = sayIfNothing(command, tape, terminal);
            return nothing && code == ExitCode.OK ? ExitCode.COULD_NOT_LOOK : code;
        } catch (IOException e) {
            throw new TapeFileException(
                    "cannot run " + command.get(0) + ": " + (isNotFound(e) ? "not found" : e.getMessage()), e);
        }
    }

    /** ENOENT, as JDKs word it. */
    private static boolean isNotFound(IOException e) {
        String message = String.valueOf(e.getMessage());
        return message.contains("error=2,") || message.contains("error: 2 ");
    }

    private static int waitFor(Process process) {
        while (true) {
            try {
                return process.waitFor();
            } catch (InterruptedException e) {
                // Nobody interrupts the main thread; the program is not done.
            }
        }
    }

    /**
     * Runs when this program is told to end: ends the recorded one, whom the signal need not have reached, and waits until
     * its calls are shown.
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
                throw new IOException("told to end");
            }
            Process process = builder.start();
            program = Optional.of(process);
            return process;
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
                // It runs, and now ends.
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
                    System.err.println("kvmirq: ended before all calls were printed; -o keeps them in a file");
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** Before anything is written: a name mistyped must not cost an earlier tape. */
    private static void requireProgram(String name) {
        boolean found = name.contains("/")
                ? Files.exists(Path.of(name))
                : Stream.of(System.getenv().getOrDefault("PATH", "").split(":"))
                        .anyMatch(directory -> Files.isExecutable(Path.of(directory, name)));
        if (!found) {
            throw new TapeFileException("cannot run " + name + ": not found", new NoSuchFileException(name));
        }
    }

    /** Any program that loads the recorder writes a line as it starts. */
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
            throw new TapeFileException("cannot write " + file + ": " + reason(e), e);
        }
    }

    private static Path temporary() {
        try {
            Path file = Files.createTempFile("kvmirq", ".tape");
            // Also when this program is told to end and printing takes too long.
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
            // Ending already: what is left to do is deleting it at once.
        }
    }
}
