/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.Errno;
import io.kvmirq.backend.library.NativeLibrary;
import io.kvmirq.cli.frame.OtherProgram;
import io.kvmirq.cli.frame.UnnamedFile;
import io.kvmirq.cli.frame.UnreadableInputException;
import io.kvmirq.recording.Preload;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** {@code kvmirqtrace} starts the program and stops it at its calls, by ptrace. */
final class TracingRecorder implements ProgramRecorder {
    /** An exit code is this and the number of a signal, if that ended the process. */
    private static final int SIGNALLED = 128;

    private final Path tracer = NativeLibrary.tracerOfThisMachine().file();
    private @Nullable UnnamedFile report;
    private @Nullable BufferedReader said;

    /**
     * Tries it with a process of the tracer's own, before a program runs and an earlier tape is replaced.
     *
     * @throws UnreadableInputException when it is refused
     */
    TracingRecorder(String program) {
        try {
            int code =
                    OtherProgram.waitFor(OtherProgram.start(tracing(List.of()).inheritIO()));
            requireStarted(program);
            requireTried(program, code);
        } catch (IOException e) {
            throw cannotRun(e);
        } finally {
            close();
        }
    }

    private static void requireTried(String program, int code) {
        if (code != 0) {
            throw new UnreadableInputException("cannot run " + program + ": the tracer "
                    + (code > SIGNALLED
                            ? "was killed by signal " + (code - SIGNALLED) + ", as by the seccomp filter of a container"
                            : "ended with exit code " + code));
        }
    }

    private UnreadableInputException cannotRun(IOException e) {
        return new UnreadableInputException("cannot run " + tracer + ": " + e.getMessage(), e);
    }

    private ProcessBuilder tracing(List<String> command) throws IOException {
        UnnamedFile made = UnnamedFile.create("kvmirq-trace");
        report = made;
        said = Files.newBufferedReader(made.path());
        List<String> words = new ArrayList<>(List.of(
                tracer.toString(),
                made.path().toString(),
                Long.toString(ProcessHandle.current().pid())));
        words.addAll(command);
        return new ProcessBuilder(words);
    }

    @Override
    public ProcessBuilder builder(List<String> command, Path tape, long limit) throws IOException {
        ProcessBuilder builder = tracing(command);
        builder.environment().putAll(Preload.environment(tape, limit));
        return builder;
    }

    @Override
    public void requireStarted(String program) {
        try {
            Optional<String> line = said == null ? Optional.empty() : Optional.ofNullable(said.readLine());
            if (line.isPresent()) {
                String[] words = line.get().split(" ", -1);
                throw new UnreadableInputException(
                        "cannot run " + program + ": " + refusal(words[1], Integer.parseInt(words[2])));
            }
        } catch (IOException e) {
            throw cannotRun(e);
        }
    }

    /** @param step of the tracer, as it names them */
    private static String refusal(String step, int error) {
        String name = error == 0 ? "no errno" : new Errno(error).toString();
        return switch (step) {
            case "exec" ->
                error == Errno.ENOENT.number()
                        ? "not found"
                        : error == Errno.EACCES.number() ? "permission denied" : name;
            case "ptrace", "memory" ->
                (step.equals("ptrace") ? "ptrace" : "process_vm_readv") + " is refused (" + name
                        + "), as by yama's ptrace_scope 3 or the seccomp filter of a container";
            case "stop" ->
                "the kernel does not say at which call a program stopped (" + name + "), as Linux before 5.3";
            case "filter" -> "a seccomp filter cannot be installed (" + name + ")";
            default -> "the tracer's step " + step + " gives " + name;
        };
    }

    @Override
    public String whyNothing(String program) {
        return "the tracer was killed, and " + program + " with it";
    }

    @Override
    public String whyNoCall(String program) {
        return program + " made none; is it a program of 32 bits?";
    }

    @Override
    public void close() {
        try {
            if (said != null) {
                said.close();
            }
        } catch (IOException e) {
            // Nothing is written through it.
        }
        if (report != null) {
            report.close();
        }
    }
}
