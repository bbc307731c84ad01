/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.apic.model.PostingDecision;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.host.facts.HostFacts;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq decide}: decides whether KVM posts a message to a vCPU, and if not, why. Reads only files. */
public final class DecideCommand implements Command {
    private static final List<String> OF_X86 =
            List.of("--vcpus", "--apic", "--32-bit-ids", "--inhibit", "--x2avic-ext", "--kernel");

    @Override
    public void describe(Usage usage) {
        usage.description("Predicts how KVM on this host handles the message that a guest wrote into a device's MSI"
                        + " or MSI-X table: the destination vCPUs, whether the IOMMU posts to one of them, and the"
                        + " remapping entry. Reads sysfs and /proc, and opens neither KVM nor a device. With"
                        + " --vendor, reads no files, and assumes that nothing obstructs posting. Exits with 1 if the"
                        + " message is not posted, and with 3 if the host's files do not show the facts. On arm64,"
                        + " prints whether KVM maps the event to a vLPI.")
                .footer(
                        "",
                        "DIR contains the files that 'kvmirq help vfio' lists.",
                        "",
                        "Example: kvmirq decide --vendor amd --msi 0xfee01000/0x41 --vcpus 4");
        usage.add(
                Command.option("--msi", "ADDRESS/DATA", String.class).description("The message, as two hex numbers."));
        usage.add(Command.option("--vendor", "VENDOR", String.class)
                .completionCandidates(
                        Stream.concat(Command.labels(Vendor.values()).stream(), Stream.of(DecideQuestion.BOTH))
                                .toList())
                .description("Assume an intel or amd host, or both in turn, on which nothing obstructs posting. Reads"
                        + " no files."));
        usage.add(Command.option("--vcpus", "N", Integer.class).description("Number of vCPUs, 1-4096 (default: 1)."));
        usage.add(Command.option("--apic", "MODE", String.class)
                .completionCandidates(Command.labels(DecideQuestion.Mode.values()))
                .description("Guest LAPIC mode: flat, cluster or x2apic (default: flat for up to 8 vCPUs, else"
                        + " x2apic)."));
        usage.add(OptionSpec.builder("--32-bit-ids")
                .description("Assume that the VMM has enabled KVM_X2APIC_API_USE_32BIT_IDS."));
        usage.add(Command.option("--inhibit", "REASON", List.class)
                .auxiliaryTypes(String.class)
                .completionCandidates(Command.labels(InhibitReason.values()))
                .description("Assume that REASON, such as pit_reinj, inhibits APIC virtualization. REASON is a name"
                        + " as printed by doctor or, in capitals, by the tracepoint."));
        usage.add(Command.option("--without", "PART", List.class)
                .auxiliaryTypes(String.class)
                .completionCandidates(Command.labels(MissingPart.values()))
                .description("Assume that a part of the path is missing: "
                        + String.join(", ", Command.labels(MissingPart.values()))
                        + "."));
        usage.add(OptionSpec.builder("--x2avic-ext")
                .description("AMD: assume that the CPU has X2AVIC_EXT, so AVIC works for vCPU ids above 511."));
        usage.add(Command.option("--kernel", "VERSION", String.class)
                .description("Linux version, 6.1 or newer, such as 6.12 (default: the host's, or "
                        + LinuxVersion.NEWEST
                        + " with --vendor)."));
        usage.add(OptionSpec.builder("--reasons")
                .description("Only list all possible reasons, in the order in which KVM checks them."));
        HostSource.describe(usage);
        usage.add(Command.json());
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        return Commands.read(arguments, () -> {
            if (arguments.hasMatchedOption("--reasons")) {
                if (arguments.matchedOptions().size() > 1) {
                    throw new IllegalArgumentException(
                            "--reasons lists all possible reasons: expected no other option");
                }
                DecideText.printReasons(terminal);
                return ExitCode.OK;
            }
            DecideQuestion.message(arguments);
            if (arguments.hasMatchedOption("--vendor")) {
                if (!Commands.host(arguments).isEmpty()) {
                    throw new IllegalArgumentException("--vendor and" + Commands.host(arguments)
                            + " are mutually exclusive: --vendor reads no files");
                }
                return answer(DecideQuestion.ofVendors(arguments), arguments, terminal);
            }
            HostFacts host = new HostFacts(HostSource.withoutPci(arguments));
            return host.isArm() ? ofArm(host, arguments, terminal) : ofX86(host, arguments, terminal);
        });
    }

    private static int ofX86(HostFacts host, ParseResult arguments, Terminal terminal) {
        Optional<PostingHost> posting = host.posting().host();
        if (posting.isEmpty()) {
            // A mistake in the other options is reported first.
            DecideQuestion.ofVendors(arguments);
            terminal.complain("the host's files do not show what decides posting: "
                    + String.join("; ", host.posting().unreadable())
                    + ". --vendor assumes that nothing obstructs posting");
            return ExitCode.COULD_NOT_RUN;
        }
        return answer(DecideQuestion.ofHost(arguments, host, posting.get()), arguments, terminal);
    }

    private static int answer(DecideQuestion question, ParseResult arguments, Terminal terminal) {
        List<PostingDecision> decisions = question.decide();
        if (arguments.hasMatchedOption("--json")) {
            DecideText.write(question, decisions, terminal);
        } else {
            DecideText.print(question, decisions, terminal);
        }
        boolean posted = decisions.stream().allMatch(PostingDecision.Posted.class::isInstance);
        return posted ? ExitCode.OK : ExitCode.FAILED;
    }

    private static int ofArm(HostFacts host, ParseResult arguments, Terminal terminal) {
        OF_X86.stream().filter(arguments::hasMatchedOption).findFirst().ifPresent(option -> {
            throw new IllegalArgumentException(option + " is for x86 only, and the host is arm64");
        });
        ArmDecision decision = ArmDecision.fromHost(host, DecideQuestion.missing(arguments));
        if (decision.vlpi().isEmpty()) {
            terminal.complain(
                    "the host's files do not show what decides posting: " + decision.text() + "; " + decision.remedy());
            return ExitCode.COULD_NOT_RUN;
        }
        if (arguments.hasMatchedOption("--json")) {
            DecideText.write(DecideQuestion.message(arguments), decision, terminal);
        } else {
            DecideText.print(DecideQuestion.message(arguments), decision, terminal);
        }
        return decision.vlpi().get() ? ExitCode.OK : ExitCode.FAILED;
    }
}
