/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.NativeLibrary;
import io.kvmirq.recording.TapeException;
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
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
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
                                + " it could not be started. Works for any dynamically linked program, and needs no"
                                + " root but what CMD needs.",
                        "",
                        "A tape holds the arguments of calls: no guest memory, no pointers.");
        spec.parser().stopAtPositional(true);
        spec.addOption(OptionSpec.builder("-o", "--output")
                .paramLabel("FILE")
                .type(Path.class)
                .description("Write the tape to FILE, replacing it, and print nothing.")
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
        Path tape = output.map(file -> emptied(file.toAbsolutePath())).orElseGet(TapeCommand::temporary);
        try {
            int code = run(command, recorder, tape);
            sayIfNothing(command, tape, terminal);
            if (output.isEmpty()) {
                print(tape, terminal.out());
            }
            return code;
        } finally {
            if (output.isEmpty()) {
                delete(tape);
            }
        }
    }

    private static int run(List<String> command, Path recorder, Path tape) {
        ProcessBuilder builder = new ProcessBuilder(command).inheritIO();
        Map<String, String> environment = builder.environment();
        String others = environment.getOrDefault(PRELOAD, "");
        environment.put(PRELOAD, others.isEmpty() ? recorder.toString() : recorder + ":" + others);
        environment.put(TAPE, tape.toString());
        try {
            return waitFor(builder.start());
        } catch (IOException e) {
            throw new TapeFileException(
                    "cannot run " + command.get(0) + ": "
                            + (String.valueOf(e.getMessage()).contains("error=2,") ? "not found" : e.getMessage()),
                    e);
        }
    }

    /** The program ends when this one is told to: its signals need not have reached it. */
    private static int waitFor(Process process) {
        Thread hook = new Thread(process::destroy, "kvmirq-stop");
        Runtime.getRuntime().addShutdownHook(hook);
        while (true) {
            try {
                int code = process.waitFor();
                Runtime.getRuntime().removeShutdownHook(hook);
                return code;
            } catch (InterruptedException e) {
                // Nobody interrupts the main thread; the program is not done.
            } catch (IllegalStateException e) {
                return ExitCode.FAILED; // Shutting down: the hook runs and the JVM ends after it.
            }
        }
    }

    /** Any program that loads the recorder writes a line as it starts. */
    private static void sayIfNothing(List<String> command, Path tape, Terminal terminal) {
        if (tape.toFile().length() == 0) {
            terminal.err()
                    .println("kvmirq: nothing was recorded: " + command.get(0)
                            + " did not load the recorder; is it statically linked, or set-user-id?");
        }
    }

    private static Path emptied(Path file) {
        try {
            Files.newByteChannel(
                            file,
                            Set.of(
                                    StandardOpenOption.WRITE,
                                    StandardOpenOption.CREATE,
                                    StandardOpenOption.TRUNCATE_EXISTING),
                            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")))
                    .close();
            return file;
        } catch (IOException e) {
            throw new TapeFileException("cannot write " + file + ": " + reason(e), e);
        }
    }

    private static Path temporary() {
        try {
            return Files.createTempFile("kvmirq", ".tape");
        } catch (IOException e) {
            throw new TapeFileException(
                    "cannot make a temporary file in " + System.getProperty("java.io.tmpdir") + ": " + e, e);
        }
    }

    private static void delete(Path file) {
        File temporary = file.toFile();
        if (!temporary.delete()) {
            temporary.deleteOnExit();
        }
    }
}
