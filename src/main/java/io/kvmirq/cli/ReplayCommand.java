/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.backend.Backends;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakeProvider;
import io.kvmirq.fake.Profile;
import io.kvmirq.recording.Replay;
import io.kvmirq.recording.TapeException;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.PositionalParamSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq replay}: the calls of a tape made again, and the first that answers otherwise. */
final class ReplayCommand implements Command {
    private final Backends backends = Backends.ofThisMachine();

    @Override
    public String name() {
        return "replay";
    }

    @Override
    public String summary() {
        return "Make the calls of a tape again, and show the first that is answered otherwise.";
    }

    @Override
    public void describe(CommandSpec spec) {
        spec.usageMessage()
                .description(
                        "Makes the calls on the tape in FILE again, on a fake kernel, or with --backend on this machine's,"
                                + " in the order of the tape, and compares the answers: results and errnos, counts of"
                                + " eventfds, what is ready, why a guest left. What depends on the processor (CPUID,"
                                + " registers, the state of chips) is not compared.",
                        "",
                        "Exit code 1 when a call is answered otherwise: it is shown with what was expected and what is"
                                + " open. 3 when FILE is not a whole tape of this architecture, of which nothing is then"
                                + " replayed, or when a call cannot be made again: the fake does not model it, or the tape"
                                + " does not hold what it needs, such as the memory of another program's guest.",
                        "",
                        "With --backend other than fake, the calls of whoever wrote the tape are made on this machine's"
                                + " kernel, as whoever runs this: replay so only tapes that you trust.",
                        "",
                        "FILE is from 'kvmirq selftest --record', 'kvmirq tape -o', or io.kvmirq.recording.Recorder.");
        spec.addOption(OptionSpec.builder("--backend")
                .paramLabel("BACKEND")
                .type(String.class)
                .converters(SelftestCommand.backend(backends))
                .completionCandidates(backends.names())
                .defaultValue(Backends.FAKE)
                .description("Binding to the kernel: " + String.join(", ", backends.names())
                        + " (default ${DEFAULT-VALUE}).")
                .build());
        spec.addOption(OptionSpec.builder("--profile")
                .paramLabel("PROFILE")
                .type(String.class)
                .converters(SelftestCommand.profile())
                .completionCandidates(Profile.labels())
                .description("Kernel the fake stands for: " + String.join(", ", Profile.labels()) + "; after a comma "
                        + Profile.switches() + " (default: -D" + FakeProvider.PROFILE + ", 6.18).")
                .build());
        spec.addPositional(PositionalParamSpec.builder()
                .paramLabel("FILE")
                .type(Path.class)
                .required(true)
                .arity("1")
                .description("The tape.")
                .build());
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        String name = arguments.matchedOptionValue("--backend", Backends.FAKE);
        boolean fake = name.equals(Backends.FAKE);
        if (arguments.hasMatchedOption("--profile")) {
            if (!fake) {
                terminal.err().println("kvmirq: --profile is of the fake kernel: leave --backend out");
                return ExitCode.USAGE;
            }
            System.setProperty(FakeProvider.PROFILE, arguments.matchedOptionValue("--profile", ""));
        }
        Path file = arguments.matchedPositionalValue(0, Path.of(""));
        KernelBackend backend = fake ? new FakeKernel(FakeProvider.profile()).backend() : backends.open(name);
        String on = fake ? "fake kernel " + backend.description() : "this machine's kernel, " + backend.name();
        try (Replay replay = new Replay(backend.libc())) {
            int code = tell(replay.run(file), on, terminal);
            replay.remarks().forEach(remark -> (code == ExitCode.COULD_NOT_LOOK ? terminal.err() : terminal.out())
                    .println(remark));
            return code;
        } catch (TapeException e) {
            terminal.err().println("kvmirq: " + file + ": " + e.getMessage() + "; nothing was replayed");
        } catch (IOException e) {
            String reason = e instanceof NoSuchFileException
                    ? "no such file"
                    : e instanceof FileSystemException told && told.getReason() != null
                            ? told.getReason()
                            : e.toString();
            terminal.err().println("kvmirq: cannot read " + file + ": " + reason);
        }
        return ExitCode.COULD_NOT_LOOK;
    }

    private static int tell(Replay.Outcome outcome, String on, Terminal terminal) {
        if (outcome instanceof Replay.Same same) {
            terminal.out().println(same.calls() + " calls replayed on " + on + ", all answered as on the tape");
            return ExitCode.OK;
        }
        if (outcome instanceof Replay.Diverged diverged) {
            terminal.out().println(terminal.bad("diverged") + " at call " + diverged.number() + " on " + on);
            terminal.out().println("  call      " + diverged.call());
            terminal.out().println("  expected  " + diverged.expected());
            terminal.out().println("  got       " + diverged.got());
            terminal.out().println("  open      " + String.join(", ", diverged.open()));
            return ExitCode.FAILED;
        }
        terminal.err().println("kvmirq: " + outcome);
        return ExitCode.COULD_NOT_LOOK;
    }
}
