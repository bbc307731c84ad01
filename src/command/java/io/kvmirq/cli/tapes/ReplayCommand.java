/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.KernelChoice;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakeProvider;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.recording.replay.Replay;
import io.kvmirq.recording.tapes.TapeException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Model.PositionalParamSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq replay}: repeats the calls of a tape and prints the first call whose result differs. */
public final class ReplayCommand implements Command {
    private final Backends backends = Backends.ofThisMachine();

    @Override
    public void describe(Usage usage) {
        usage.description(
                "Repeats the calls on the tape in FILE, in their order, on a fake kernel, or with --backend on this"
                        + " machine's kernel. It compares results, errnos, counts of eventfds, ready descriptors and"
                        + " exit reasons of vCPUs. It does not compare results that depend on the processor: CPUID,"
                        + " registers, the state of interrupt chips. The fake has the PCI devices that the recorded"
                        + " program opened through VFIO; a replay never opens devices of this machine.",
                "",
                "Each call is counted once: as same, when it returned the same as on the tape; as passed over, when"
                        + " the kernel does not model it or the tape lacks data that it needs; or as unknown, when"
                        + " its result depends on a guest whose memory is not on the tape, or on the order of calls"
                        + " that overlapped in time. Such a guest does not run: KVM_RUN returns the recorded exit,"
                        + " and the state that the program reads is taken from the tape.",
                "",
                "Exit code 1 when a result differs: the call is printed with the recorded result and the open files."
                        + " Exit code 1 also when the tape has no end, for example because the recorder was killed:"
                        + " its calls are replayed all the same. Exit code 3 when FILE is not a tape of this"
                        + " architecture or has a broken line (then no call is made), or when a call must not be"
                        + " repeated, because it would open a device of this machine or needs more memory than a"
                        + " replay maps.",
                "",
                "With a --backend other than fake, the calls of the tape are made on this machine's kernel with"
                        + " your rights: use it only for tapes that you trust.",
                "",
                "FILE is from 'kvmirq selftest --record', 'kvmirq tape -o', or io.kvmirq.recording.Recorder.");
        usage.add(KernelChoice.backendOption(backends)
                .defaultValue(Backends.FAKE)
                .description("Binding to the kernel: " + String.join(", ", backends.names())
                        + " (default ${DEFAULT-VALUE})."));
        usage.add(KernelChoice.profileOption()
                .description("Kernel that the fake imitates: " + Profile.expected() + " (default: -D"
                        + FakeProvider.PROFILE + ", then the kernel of the tape, or the next older one)."));
        usage.add(PositionalParamSpec.builder()
                .paramLabel("FILE")
                .type(Path.class)
                .required(true)
                .arity("1")
                .description("The tape."));
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        String name = arguments.matchedOptionValue("--backend", Backends.FAKE);
        boolean fake = name.equals(Backends.FAKE);
        Optional<String> named = Optional.ofNullable(arguments.matchedOptionValue("--profile", null));
        if (named.isPresent() && !fake) {
            terminal.complain("--profile is for the fake kernel: leave --backend out");
            return ExitCode.USAGE;
        }
        Path file = arguments.matchedPositionalValue(0, Path.of(""));
        try {
            if (!fake) {
                KernelBackend backend = backends.open(name);
                return replay(backend, file, "this machine's kernel, " + backend.name(), terminal);
            }
            Profile profile;
            try {
                profile = profile(named, file);
            } catch (IllegalArgumentException e) {
                terminal.complain(FileSentence.shown(file) + ": " + e.getMessage() + "; name one with --profile");
                return ExitCode.COULD_NOT_RUN;
            }
            FakeKernel kernel = new FakeKernel(profile);
            kernel.addDevicesOf(file);
            return replay(kernel.backend(), file, kernel.toString(), terminal);
        } catch (TapeException e) {
            terminal.complain(FileSentence.shown(file) + ": " + e.getMessage() + "; nothing was replayed");
        } catch (IOException e) {
            terminal.complain(FileSentence.cannotRead(file, e));
        }
        return ExitCode.COULD_NOT_RUN;
    }

    /** The profile of --profile, else that of -D, else the tape's own. */
    private static Profile profile(Optional<String> named, Path file) throws IOException {
        if (named.isPresent()) {
            return Profile.of(named.get());
        }
        if (System.getProperty(FakeProvider.PROFILE) != null) {
            return FakeProvider.profile();
        }
        return FakeKernel.profileOf(file);
    }

    private static int replay(KernelBackend backend, Path file, String on, Terminal terminal) throws IOException {
        try (Replay replay = new Replay(backend.libc())) {
            int code = tell(replay.run(file), on, terminal);
            replay.remarks().forEach(remark -> (code == ExitCode.COULD_NOT_RUN ? terminal.err() : terminal.out())
                    .println(remark));
            return code == ExitCode.OK && !replay.isWhole() ? ExitCode.FAILED : code;
        }
    }

    private static int tell(Replay.Outcome outcome, String on, Terminal terminal) {
        if (outcome instanceof Replay.Same same) {
            terminal.line(same.calls() + " calls replayed on " + on + ", all answered as on the tape");
            return ExitCode.OK;
        }
        if (outcome instanceof Replay.Diverged diverged && diverged.call().startsWith("open " + Kernel.DEVICE)) {
            terminal.complain("cannot replay: open " + Kernel.DEVICE + " gives " + diverged.got() + " here and "
                    + diverged.expected() + " on the tape; leave --backend out to replay on the fake kernel");
            return ExitCode.COULD_NOT_RUN;
        }
        if (outcome instanceof Replay.Diverged diverged) {
            terminal.line(terminal.bad("diverged") + " at call " + diverged.number() + " on " + on);
            terminal.line("  call      " + diverged.call());
            terminal.line("  expected  " + diverged.expected());
            terminal.line("  got       " + diverged.got());
            terminal.line("  open      " + String.join(", ", diverged.open()));
            return ExitCode.FAILED;
        }
        terminal.complain(outcome.toString());
        return ExitCode.COULD_NOT_RUN;
    }
}
