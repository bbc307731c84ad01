/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.selftest;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.KernelChoice;
import io.kvmirq.cli.frame.StopHook;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakeProvider;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.selftest.CouldNotRunException;
import io.kvmirq.selftest.Irqchip;
import io.kvmirq.selftest.Result;
import io.kvmirq.selftest.Scenario;
import io.kvmirq.selftest.Selftest;
import io.kvmirq.selftest.SelftestListener;
import io.kvmirq.text.Foreign;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.TypeConversionException;

/** {@code kvmirq selftest}: runs a throwaway guest that answers interrupts. */
public final class SelftestCommand implements Command {
    private final Backends backends = Backends.ofThisMachine();
    private static final int DEFAULT_COUNT = 10_000;
    private static final int MAX_COUNT = 10_000_000;

    @Override
    public void describe(Usage usage) {
        usage.description("Starts a throwaway VM with one vCPU for each scenario, raises interrupts as a device"
                        + " would, and prints what the kernel and the guest did. Needs access to /dev/kvm, but not"
                        + " root. --backend fake runs the same test on a fake kernel, marks every line FAKE, and is"
                        + " used only if you select it. A fake kernel runs no arm64 guest, so the test checks its"
                        + " VGIC for pending interrupts instead. Exits with 1 if a scenario fails or all are skipped,"
                        + " and with 3 if KVM cannot be used.")
                .footer(scenarios());
        usage.add(Command.option("--count", "N", Integer.class)
                .converters(count())
                .defaultValue(String.valueOf(DEFAULT_COUNT))
                .description("Interrupts per scenario, except for guestless, 1-"
                        + MAX_COUNT
                        + " (default ${DEFAULT-VALUE})."));
        usage.add(Command.option("--scenario", "SCENARIO", List.class)
                .auxiliaryTypes(Scenario.class)
                .converters(oneOf(Scenario.values()))
                .completionCandidates(Command.labels(Scenario.values()))
                .description("Run only this scenario. Repeat the option for several."));
        usage.add(Command.option("--irqchip", "KIND", Irqchip.class)
                .converters(oneOf(Irqchip.values()))
                .completionCandidates(Command.labels(Irqchip.values()))
                .description("In-kernel irqchip: full (PIC, IOAPIC and LAPICs; the default if the kernel supports"
                        + " them) or split (LAPICs only, as in many VMMs); on arm64, vgic (a GICv3 or GICv2) or"
                        + " pending (the same, but no guest runs)."));
        usage.add(KernelChoice.backendOption(backends)
                .description("Binding to the kernel: " + String.join(", ", backends.names()) + " (default: -D"
                        + Backends.PROPERTY + ", $"
                        + Backends.ENVIRONMENT + ", auto)."));
        usage.add(KernelChoice.profileOption()
                .description("With --backend fake, the kernel to imitate: " + Profile.expected() + "."));
        usage.add(Command.json());
    }

    private static String[] scenarios() {
        List<String> lines = new ArrayList<>();
        for (Irqchip irqchip : List.of(Irqchip.FULL, Irqchip.VGIC, Irqchip.PENDING)) {
            String where =
                    switch (irqchip) {
                        case VGIC -> "Scenarios on arm64:";
                        case PENDING -> "Scenarios on arm64 where no guest runs:";
                        default -> "Scenarios:";
                    };
            lines.addAll(List.of("", where));
            for (Scenario scenario : Scenario.values()) {
                lines.add(String.format("  %-10s %s", scenario.label(), scenario.path(irqchip)));
            }
        }
        return lines.toArray(String[]::new);
    }

    private static ITypeConverter<Integer> count() {
        return text -> {
            try {
                int count = Integer.parseInt(text);
                if (count >= 1 && count <= MAX_COUNT) {
                    return count;
                }
            } catch (NumberFormatException e) {
                // Reported below, with the range.
            }
            throw new TypeConversionException(Foreign.quoted(text) + " is not a number from 1 to " + MAX_COUNT);
        };
    }

    private static <E> ITypeConverter<E> oneOf(E[] all) {
        return text -> Arrays.stream(all)
                .filter(constant -> Command.label(constant).equals(text))
                .findFirst()
                .orElseThrow(() -> new TypeConversionException(KernelChoice.notOneOf(text, Command.labels(all))));
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        String backend = arguments.matchedOptionValue("--backend", Backends.selection());
        Optional<String> refused = arguments.hasMatchedOption("--backend")
                ? Optional.empty()
                : KernelChoice.refused(backends, "--backend " + Backends.FAKE);
        if (refused.isPresent()) {
            terminal.complain(refused.get());
            return ExitCode.USAGE;
        }
        Optional<String> profile = Optional.ofNullable(arguments.matchedOptionValue("--profile", null));
        if (profile.isPresent() && !backend.equals(Backends.FAKE)) {
            terminal.complain("--profile is for the fake kernel: add --backend " + Backends.FAKE);
            return ExitCode.USAGE;
        }
        try (Target target =
                backend.equals(Backends.FAKE) ? fake(profile) : new Target(Kernel.open(backend), Optional.empty())) {
            target.kernel().device();
            return run(target, arguments, terminal);
        } catch (KernelException e) {
            terminal.complain(e.getMessage() + hint(e));
            return ExitCode.COULD_NOT_RUN;
        } catch (CouldNotRunException e) {
            terminal.complain(String.valueOf(e.getMessage()));
            return ExitCode.COULD_NOT_RUN;
        }
    }

    /** Without KVM, suggests the fake kernel. */
    private static String hint(KernelException e) {
        boolean noKvm = e.call().equals("open") && e.errno().equals(Errno.ENOENT);
        return noKvm ? "; --backend " + Backends.FAKE + " runs the same on a fake kernel" : "";
    }

    private static Target fake(Optional<String> profile) {
        FakeKernel fake = new FakeKernel(profile.map(Profile::parse).orElseGet(FakeProvider::profile));
        return new Target(fake.open(), Optional.of(fake));
    }

    private record Target(Kernel kernel, Optional<FakeKernel> fake) implements AutoCloseable {
        @Override
        public void close() {
            kernel.close();
        }
    }

    private static int run(Target target, ParseResult arguments, Terminal terminal) {
        Kernel kernel = target.kernel();
        // Creates the first VM. A failure means that KVM cannot use the CPU, so no scenario has failed.
        Irqchip usual = Irqchip.ofKernel(kernel);
        Irqchip asked = arguments.matchedOptionValue("--irqchip", usual);
        // If no arm64 guest can run, the scenarios check the VGIC's pending state.
        Irqchip irqchip = asked == Irqchip.VGIC && usual == Irqchip.PENDING ? usual : asked;
        if (irqchip.isVgic() != usual.isVgic()) {
            terminal.complain("--irqchip " + irqchip.label() + " is for "
                    + (irqchip.isVgic() ? "arm64, and this kernel is x86" : "x86, and this kernel is arm64")
                    + ": leave it out, or use " + usual.label());
            return target.fake().isPresent() ? ExitCode.USAGE : ExitCode.COULD_NOT_RUN;
        }
        int count = arguments.matchedOptionValue("--count", DEFAULT_COUNT);
        List<Scenario> scenarios = arguments.matchedOptionValue("--scenario", List.of(Scenario.values()));
        boolean json = arguments.hasMatchedOption("--json");
        SelftestReport report = new SelftestReport(terminal, kernel, irqchip, target.fake());
        SelftestListener journal = json ? new SelftestListener() {} : report;
        if (terminal.progressColumns() > 0) {
            journal = new ProgressJournal(journal, terminal.err(), terminal.progressColumns());
        }
        Selftest selftest = new Selftest(kernel, irqchip, count, journal);
        // Ctrl-C stops the vCPU and joins its thread, and what ran is printed, before the JVM ends.
        List<Result> results = StopHook.during(
                () -> {
                    List<Result> ran = selftest.run(scenarios);
                    if (json) {
                        report.write(ran);
                    } else {
                        report.summary(ran);
                    }
                    return ran;
                },
                selftest::stop);
        // A run that skipped every scenario proves nothing.
        boolean failed = results.stream().anyMatch(result -> result.failure().isPresent());
        return !failed && results.stream().anyMatch(Result::passed) ? ExitCode.OK : ExitCode.FAILED;
    }
}
