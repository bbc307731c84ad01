/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Nagios;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.LiveHost;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/**
 * {@code kvmirq explain}: explains how a device's interrupt reaches a guest, and why it is not posted. Only {@code
 * --live} writes to the host.
 */
public final class ExplainCommand implements Command {
    static final String EVIDENCE = "--evidence";

    /** Null for this machine: other commands start faster without its classes. */
    private final @Nullable LiveHost machine;

    /** Watches this machine, if {@code --live} is given. */
    public ExplainCommand() {
        this(null);
    }

    /** @param machine what {@code --live} watches */
    ExplainCommand(@Nullable LiveHost machine) {
        this.machine = machine;
    }

    @Override
    public void describe(Usage usage) {
        usage.description("First prints whether a device's interrupts reach the guest, and whether hardware (posted)"
                        + " or KVM delivers them. Then prints a vector's chain: device, host irq, device vector,"
                        + " VMM, eventfd, irqfd, GSI, guest vector, vCPU. Each link is ok, broken, doubtful (its"
                        + " evidence is contradictory or, alone, inconclusive), not used or not shown, with the"
                        + " evidence: observed in a file, inferred (with the reason) or predicted. Then prints"
                        + " whether this host can post the VM's interrupt, whether KVM requested posting, whether"
                        + " the IOMMU entry (or the LPI on arm64) posts, and whether hardware"
                        + " delivered the interrupt. For all vectors of a device, prints the chain that breaks first, and the"
                        + " broken links of the others. Reads sysfs, /proc and debugfs, and writes nothing without"
                        + " --live. Run it as root.")
                .footer(footer());
        usage.add(Command.parameter("0", "0..1", "BDF")
                .description("Device address as lspci prints it, or the number of a host irq that VFIO has armed, or"
                        + " a guest's name, as with --vm."));
        usage.add(Command.parameter("1", "0..1", "VECTOR").description("MSI or MSI-X vector (default: all vectors)."));
        usage.add(Command.option("--vm", "NAME|PID", String.class)
                .description("Explain all devices of a guest, given by name or process id, instead of BDF."));
        usage.add(OptionSpec.builder("--all").description("Explain all devices of all guests, instead of BDF."));
        usage.add(OptionSpec.builder("--vcpus")
                .description("With --vm: print each vCPU's phase, CPU and counts instead of the guest's devices."
                        + " Needs --live, or --fake, which starts a guest named web and watches it."));
        usage.add(OptionSpec.builder("--strict")
                .description("If no link is broken, set the exit code by the first link in doubt."));
        usage.add(Nagios.option());
        usage.add(HostSource.twice());
        usage.add(Command.option("--against", "FILE", Path.class)
                .description("With --from: also print the differences from this earlier capture."));
        usage.add(OptionSpec.builder(EVIDENCE)
                .description("Also compare each kernel-memory field on the path of an armed vector with the value"
                        + " that another structure requires, and print AGREE, DIFFER, or UNOBSERVABLE with the"
                        + " reason. With --vcpus, compare the fields of Intel's posted-interrupt descriptors."));
        LiveOption.describe(usage);
        MemoryOption.describe(usage);
        HostSource.describe(usage);
        usage.add(Command.json());
    }

    private static String[] footer() {
        List<String> lines = new ArrayList<>(List.of("", "Exit codes in addition to 0 to 3, which all commands use:"));
        lines.addAll(ExitCode.ofExplain());
        lines.addAll(HostChoice.FILES);
        lines.addAll(List.of(
                "",
                "Example: kvmirq explain 0000:3b:00.0 3",
                "         kvmirq explain web",
                "         kvmirq explain --vm web --live 10",
                "         kvmirq explain --vm web --vcpus --live 10"));
        return lines.toArray(String[]::new);
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        ExplainQuestion typed = Commands.read(arguments, () -> ExplainQuestion.parse(arguments));
        Optional<LiveOption> live = LiveOption.parse(arguments, machine);
        HostFiles tree = LiveOption.files(live, arguments);
        if (typed.vcpus() && arguments.hasMatchedOption("--fake")) {
            return Commands.read(arguments, () -> ExplainVcpus.printFake(typed, arguments, terminal));
        }
        HostFacts host = new HostFacts(tree, terminal.host());
        ExplainQuestion question = typed.on(host);
        try (KernelPaths memory = MemoryOption.open(arguments, machine)) {
            if (question.vcpus()) {
                return ExplainVcpus.print(host, question, live, memory, arguments, terminal);
            }
            return live.isPresent()
                    ? watched(live.get(), host, question, memory, arguments, terminal)
                    : explained(host, question, memory, arguments, terminal);
        }
    }

    private static int explained(
            HostFacts first, ExplainQuestion question, KernelPaths memory, ParseResult arguments, Terminal terminal) {
        HostFacts host = HostSource.twice(arguments.hasMatchedOption(HostSource.TWICE), first, question::readAll);
        if (!arguments.hasMatchedOption(Nagios.OPTION)) {
            question.requireSeen(host);
        }
        Optional<Path> earlier = Optional.ofNullable(arguments.matchedOptionValue("--against", null));
        return ExplainAnswer.of(host, question, memory, earlier).print(arguments, terminal);
    }

    /** Reports a missing device before the watch begins. */
    private static int watched(
            LiveOption live,
            HostFacts host,
            ExplainQuestion question,
            KernelPaths memory,
            ParseResult arguments,
            Terminal terminal) {
        question.requireSeen(host);
        question.requireVector(host);
        List<VmProcess> guests = question.watched(host);
        List<PciAddress> devices = question.device().map(List::of).orElseGet(() -> guests.stream()
                .flatMap(ExplainQuestion::devices)
                .toList());
        return live.run(host, devices, guests, terminal, seen -> ExplainAnswer.of(seen, question, memory, terminal)
                .print(arguments, terminal));
    }
}
