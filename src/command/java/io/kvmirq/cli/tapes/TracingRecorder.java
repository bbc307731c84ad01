/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.backend.library.NativeLibrary;
import io.kvmirq.cli.frame.Launch;
import io.kvmirq.cli.frame.OtherProgram;
import io.kvmirq.cli.frame.UnreadableInputException;
import io.kvmirq.recording.Preload;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** {@code kvmirqtrace} starts the program and stops it at its calls, by ptrace. */
final class TracingRecorder implements ProgramRecorder {
    /** The exit code of a process that a signal ended is this plus the number of the signal. */
    private static final int SIGNALLED = 128;

    private final Path tracer = NativeLibrary.tracerOfThisMachine().file();
    private @Nullable Launch launch;

    /**
     * Tests ptrace with a process of the tracer's own, before a program runs and an earlier tape is replaced.
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
        Launch made = new Launch(tracer, "kvmirq-trace");
        launch = made;
        return made.builder(List.of(), command);
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
            Optional<String[]> line = launch == null ? Optional.empty() : launch.read();
            if (line.isPresent()) {
                throw new UnreadableInputException(
                        "cannot run " + program + ": " + refusal(Launch.Failed.of(line.get())));
            }
        } catch (IOException e) {
            throw cannotRun(e);
        }
    }

    private static String refusal(Launch.Failed failed) {
        String step = failed.step();
        String name = failed.errno();
        return failed.notExecuted().orElseGet(() -> switch (step) {
            case "ptrace", "memory" ->
                (step.equals("ptrace") ? "ptrace" : "process_vm_readv") + " is refused (" + name
                        + "), as by yama's ptrace_scope 3 or the seccomp filter of a container";
            case "stop" ->
                "the kernel does not say at which call a program stopped (" + name + "), as Linux before 5.3";
            case "filter" -> "a seccomp filter cannot be installed (" + name + ")";
            default -> "the tracer's step " + step + " gives " + name;
        });
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
        if (launch != null) {
            launch.close();
        }
    }
}
