/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.faults;

import io.kvmirq.Errno;
import io.kvmirq.backend.library.NativeLibrary;
import io.kvmirq.cli.frame.Launch;
import io.kvmirq.cli.frame.OtherProgram;
import io.kvmirq.cli.frame.RunningProgram;
import io.kvmirq.cli.frame.UnreadableInputException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * A program that runs under the launcher, which makes its calls fail by rules. A signal that ends this command ends the
 * program first. For one thread.
 */
final class FaultedProgram implements AutoCloseable {
    /** The exit code of the launcher when it cannot write its report. */
    private static final int UNREPORTED = 4;

    private static final int MAX_LINES = 200;
    private static final int MAX_LENGTH = 1000;

    private final List<String> command;
    private final Path launcher = NativeLibrary.launcherOfThisMachine().file();
    private final RunningProgram running;

    /** @throws UnreadableInputException when there is no such program */
    FaultedProgram(List<String> command) {
        this.command = command;
        OtherProgram.find(command.get(0));
        this.running = new RunningProgram(() -> {});
    }

    @Override
    public void close() {
        running.close();
    }

    /** Runs it with the streams of this command, until all its processes have ended. */
    Ended run(List<FaultRule> rules) {
        return run(rules, Duration.ZERO, ProcessBuilder::inheritIO);
    }

    /** Runs it without input and output. Processes that run longer than the limit are killed. */
    Ended runSilently(List<FaultRule> rules, Duration limit) {
        return run(rules, limit, builder -> builder.redirectInput(
                        Path.of("/dev/null").toFile())
                .redirectOutput(ProcessBuilder.Redirect.DISCARD));
    }

    private Ended run(List<FaultRule> rules, Duration limit, Consumer<ProcessBuilder> streams) {
        try (Launch launch = new Launch(launcher, "kvmirq-fault")) {
            ProcessBuilder builder = launch.builder(List.of(Long.toString(limit.toMillis())), words(rules));
            streams.accept(builder);
            Process process = running.start(builder);
            List<String> said = lines(process);
            int code = OtherProgram.waitFor(process);
            return read(launch, code).saying(said);
        } catch (IOException e) {
            String message = String.valueOf(e.getMessage());
            String hint = message.contains("Permission denied")
                    ? "; is its filesystem mounted noexec? Set $XDG_CACHE_HOME or -Dkvmirq.cache to a directory that is not"
                    : "";
            throw new UnreadableInputException("cannot run " + launcher + ": " + message + hint, e);
        }
    }

    private List<String> words(List<FaultRule> rules) {
        List<String> words = new ArrayList<>();
        rules.forEach(rule -> words.add(rule.row()));
        words.add("--");
        words.addAll(command);
        return words;
    }

    /** Reads its stderr to the end. An inherited stderr reads as empty. */
    private static List<String> lines(Process process) {
        List<String> first = new ArrayList<>();
        try (BufferedReader text =
                new BufferedReader(new InputStreamReader(process.getErrorStream(), StandardCharsets.UTF_8))) {
            StringBuilder line = new StringBuilder();
            for (int letter = text.read(); letter >= 0; letter = text.read()) {
                if (letter == '\n' || letter == '\r') {
                    add(line, first);
                } else if (line.length() < MAX_LENGTH) {
                    line.append((char) letter);
                }
            }
            add(line, first);
        } catch (IOException e) {
            // The text that was read until now.
        }
        return first;
    }

    private static void add(StringBuilder line, List<String> first) {
        String text = line.toString().strip();
        if (!text.isEmpty() && first.size() < MAX_LINES) {
            first.add(text);
        }
        line.setLength(0);
    }

    // The report

    /** @param code of the launcher */
    private Ended read(Launch launch, int code) throws IOException {
        List<Ended.Count> counts = new ArrayList<>();
        for (Optional<String[]> line = launch.read(); line.isPresent(); line = launch.read()) {
            String[] words = line.get();
            switch (words[0]) {
                case "rule" ->
                    counts.add(new Ended.Count(
                            Long.parseLong(words[1]),
                            Long.parseLong(words[2]),
                            Long.parseLong(words[3]),
                            Long.parseLong(words[4])));
                case "exit", "signal" -> {
                    return new Ended(
                            words[0].equals("signal"),
                            Integer.parseInt(words[1]),
                            words[2].equals("late"),
                            counts,
                            List.of());
                }
                default -> throw refusal(Launch.Failed.of(words));
            }
        }
        throw new UnreadableInputException(
                code == UNREPORTED
                        ? "cannot tell how " + command.get(0) + " ended: no memory for the launcher's report"
                        : "the launcher was killed, and " + command.get(0) + " with it");
    }

    private UnreadableInputException refusal(Launch.Failed failed) {
        String step = failed.step();
        String cannot = "cannot run " + command.get(0) + ": ";
        if (failed.notExecuted().isPresent()) {
            return new UnreadableInputException(cannot + failed.notExecuted().get());
        }
        if (step.equals("filter") && failed.error() == Errno.EBUSY.number()) {
            return new UnreadableInputException(cannot
                    + "a seccomp listener watches this process already, as in some containers, and a process has one"
                    + " at most");
        }
        if (step.equals("filter") || step.equals("continue")) {
            return new UnreadableInputException(cannot + "seccomp user notification gives " + failed.errno()
                    + "; it needs Linux 5.5, and no seccomp" + " filter that forbids it");
        }
        if (step.equals("children")) {
            return new UnreadableInputException("processes that " + command.get(0)
                    + " left behind were not stopped: /proc does not show them to the launcher");
        }
        return new UnreadableInputException(cannot + "the launcher's step " + step + " gives " + failed.errno());
    }
}
