/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.KernelChoice;
import io.kvmirq.cli.frame.Nagios;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.cli.frame.UnreadableInputException;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.diag.Verdict;
import io.kvmirq.diag.screens.Doctor;
import io.kvmirq.diag.screens.MemoryEvidence;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Hop;
import io.kvmirq.text.Foreign;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ParseResult;

/**
 * {@code kvmirq doctor}: checks the interrupt path of a host and prints remedies. Administrators run it often, so
 * {@link #withoutParser} runs the usual command lines without the parser, whose loading takes longer than the checks.
 * For the same reason this path has no lambda and no regular expression of its own.
 */
public final class DoctorCommand implements Command {
    public static final String NAME = "doctor";

    /**
     * The options.
     *
     * @param quiet only findings that are not PASS
     * @param strict a warning counts as something to change
     * @param graded whether to print one line for monitoring
     * @param json as JSON
     * @param checks the checks on the command line. Empty for all that only read files
     * @param except the checks that are left out
     * @param acknowledged the acknowledged findings
     */
    private record Options(
            boolean quiet,
            boolean strict,
            boolean json,
            boolean graded,
            boolean twice,
            List<String> checks,
            List<String> except,
            Acknowledged acknowledged) {}

    @Override
    public void describe(Usage usage) {
        List<String> ids = ids(EnumSet.allOf(Check.class));
        usage.description("Prints one line for each check: PASS, WARN (works, but could work better, or has a"
                        + " risk), FAIL (does not work) or UNKNOWN (not visible). Below the line, prints what to"
                        + " change, when the change takes effect, and its risk. Reads sysfs, /proc and debugfs,"
                        + " starts no VM, opens no device and writes nothing. The checks 'backends', which loads"
                        + " native code, and 'kernel-memory', which reads /proc/kcore, run only if --check names"
                        + " them. Exits with 0 if nothing fails, 1 if a check fails, and 3 if no check could read its"
                        + " files. With --strict, also exits with 17 if this host could post an interrupt but does"
                        + " not, or with 1 if a check warns about something else.")
                .footer(
                        "",
                        "Checks: " + String.join(", ", ids) + ".",
                        "",
                        "DIR contains the files that 'kvmirq help vfio' lists, and sys/module, sys/kernel/debug/irq,"
                                + " proc/{modules,self/limits,self/status,config.gz}, boot/config-*, etc/group and"
                                + " dev/kvm.",
                        "",
                        "Example: kvmirq doctor -q");
        usage.add(picocli.CommandLine.Model.OptionSpec.builder("-q", "--quiet")
                .description("Print only checks that do not pass."));
        usage.add(picocli.CommandLine.Model.OptionSpec.builder("--strict")
                .description("Also exit with 17 or 1 if a check warns."));
        usage.add(Nagios.option());
        usage.add(HostSource.twice());
        usage.add(Command.option("--check", "ID", List.class)
                .auxiliaryTypes(String.class)
                .completionCandidates(ids)
                .description("Run only this check. Repeat the option for several."));
        usage.add(Command.option("--except", "ID", List.class)
                .auxiliaryTypes(String.class)
                .completionCandidates(ids)
                .description("Skip this check, such as one that this hardware can never pass. Repeat the option for"
                        + " several."));
        usage.add(Command.option("--acknowledged", "FILE", Path.class)
                .description(
                        "Pass findings that cannot be cured on this host. A line of FILE is CHECK.REASON | LAST-DAY |"
                                + " WHY; --json prints check and reason."));
        usage.add(picocli.CommandLine.Model.OptionSpec.builder("--rules")
                .description("Print the rules instead: each rule's name, state, sentence, files and remedies; then,"
                        + " for each kernel list behind the rules, how many members have a rule or only a remark, do no"
                        + " harm, or appear in no file."));
        HostSource.describe(usage);
        usage.add(Command.json());
    }

    private static List<String> ids(Set<Check> checks) {
        return checks.stream().map(Check::id).toList();
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        if (arguments.hasMatchedOption("--rules")) {
            Doctor.rules().forEach(rule -> terminal.line(rule, 4));
            terminal.line("");
            Doctor.kinds().forEach(kind -> terminal.line(kind, 4));
            return ExitCode.OK;
        }
        Options options = new Options(
                arguments.hasMatchedOption("--quiet"),
                arguments.hasMatchedOption("--strict"),
                arguments.hasMatchedOption("--json"),
                arguments.hasMatchedOption(Nagios.OPTION),
                arguments.hasMatchedOption(HostSource.TWICE),
                arguments.matchedOptionValue("--check", List.of()),
                arguments.matchedOptionValue("--except", List.of()),
                Commands.read(arguments, () -> acknowledged(arguments.matchedOptionValue("--acknowledged", null))));
        Set<Check> checks = Commands.read(arguments, () -> chosen(options));
        HostFiles tree = Commands.read(arguments, () -> HostSource.withoutPci(arguments));
        return run(options, checks, tree, HostSource.isHere(arguments), terminal);
    }

    /** Runs a command line for this host that has only these options. Empty if the parser must read it. */
    public static Optional<Integer> withoutParser(String[] arguments, Terminal terminal) {
        boolean quiet = false;
        boolean strict = false;
        boolean json = false;
        List<String> checks = new ArrayList<>();
        for (int i = 1; i < arguments.length; i++) {
            switch (arguments[i]) {
                case "-q", "--quiet" -> quiet = true;
                case "--strict" -> strict = true;
                case "--json" -> json = true;
                case "--check" -> {
                    i++;
                    if (i == arguments.length) {
                        return Optional.empty();
                    }
                    checks.add(arguments[i]);
                }
                default -> {
                    return Optional.empty();
                }
            }
        }
        HostFiles tree = new LoggedFiles(HostFiles.at(Path.of("/")));
        if (tree.list("sys/module").isEmpty()
                || !ids(EnumSet.allOf(Check.class)).containsAll(checks)) {
            return Optional.empty();
        }
        Options options = new Options(quiet, strict, json, false, false, checks, List.of(), Acknowledged.NONE);
        return Optional.of(run(options, chosen(options), tree, true, terminal));
    }

    /** @throws IllegalArgumentException if a line is wrong */
    private static Acknowledged acknowledged(@Nullable Path file) {
        if (file == null) {
            return Acknowledged.NONE;
        }
        try {
            return Acknowledged.parse(file.toString(), Files.readString(file));
        } catch (IOException e) {
            throw new UnreadableInputException(FileSentence.cannotRead(file, e), e);
        }
    }

    /** @throws IllegalArgumentException if an option names no check, or no check is left */
    private static Set<Check> chosen(Options options) {
        EnumSet<Check> checks = EnumSet.noneOf(Check.class);
        for (Check check : Check.values()) {
            if ((options.checks().isEmpty()
                            ? !check.isStepOfItsOwn()
                            : options.checks().contains(check.id()))
                    && !options.except().contains(check.id())) {
                checks.add(check);
            }
        }
        List<String> known = ids(EnumSet.allOf(Check.class));
        for (String option : List.of("--check", "--except")) {
            for (String id : option.equals("--check") ? options.checks() : options.except()) {
                if (!known.contains(id)) {
                    throw new IllegalArgumentException(option + " " + KernelChoice.notOneOf(id, known));
                }
            }
        }
        if (checks.isEmpty()) {
            throw new IllegalArgumentException("--except leaves no check to run: leave out fewer");
        }
        return checks;
    }

    private static int run(Options options, Set<Check> checks, HostFiles tree, boolean here, Terminal terminal) {
        HostFacts host = HostSource.twice(
                options.twice(), new HostFacts(tree, terminal.host()), look -> Doctor.examine(look, checks));
        List<Finding> found = Doctor.examine(host, checks);
        if (checks.contains(Check.KERNEL_MEMORY)) {
            try (KernelPaths memory = here ? KernelPaths.ofThisMachine() : KernelPaths.none()) {
                found.add(MemoryEvidence.check(host, memory));
            }
        }
        if (checks.contains(Check.BACKENDS)) {
            found.add(BindingsCheck.finding(here));
        }
        String notFound = options.acknowledged().notFound(found, checks);
        List<Finding> findings = options.acknowledged().applyTo(found, LocalDate.now(ZoneId.systemDefault()));
        if (options.graded()) {
            String others = DoctorText.leftOut(options.except()) + (notFound.isEmpty() ? "" : "; " + notFound);
            return graded(findings, others, terminal);
        }
        if (options.json()) {
            Json.print(terminal, NAME, host, json -> json.value("findings", findings)
                    .value("exitCode", exitCode(findings, options.strict())));
        } else {
            DoctorText.print(findings, options.quiet(), options.checks().isEmpty(), options.except(), terminal);
            if (!notFound.isEmpty()) {
                terminal.line(Foreign.printable(notFound));
            }
        }
        return exitCode(findings, options.strict());
    }

    /** The worst status that is known, with the checks that have it. */
    private static int graded(List<Finding> findings, String others, Terminal terminal) {
        for (Status status : List.of(Status.FAIL, Status.WARN, Status.PASS)) {
            String of = findings.stream()
                    .filter(finding -> finding.status() == status)
                    .map(finding -> finding.check().id() + (status == Status.PASS ? "" : ": " + finding.text()))
                    .collect(Collectors.joining(status == Status.PASS ? ", " : "; "));
            if (!of.isEmpty()) {
                String hidden = findings.stream()
                        .filter(finding -> finding.status() == Status.UNKNOWN)
                        .map(finding -> finding.check().id())
                        .collect(Collectors.joining(", "));
                Nagios grade = Nagios.of(status, findings.stream().anyMatch(DoctorCommand::hidesPaths));
                String text = grade == Nagios.UNKNOWN
                        ? "not shown: " + hidden + "; in order: " + of
                        : of + (hidden.isEmpty() ? "" : "; not shown: " + hidden);
                return grade.print(text + others, terminal);
            }
        }
        return Nagios.UNKNOWN.print(
                findings.stream()
                                .map(finding -> finding.check().id() + ": " + finding.text())
                                .collect(Collectors.joining("; "))
                        + others,
                terminal);
    }

    /** Whether the paths of guests were not looked at, as of {@code explain --nagios}. */
    private static boolean hidesPaths(Finding finding) {
        return finding.check() == Check.PATHS
                && finding.status() == Status.UNKNOWN
                && finding.facts().get("unseen") instanceof List<?> why
                && why.stream().anyMatch(Nagios::isHidden);
    }

    /** If nothing fails, an interrupt that is not posted decides, as for {@code explain}. */
    static int exitCode(List<Finding> findings, boolean strict) {
        boolean fails = false;
        boolean warns = false;
        boolean unposted = false;
        boolean looked = false;
        for (Finding finding : findings) {
            fails |= finding.status() == Status.FAIL;
            warns |= finding.status() == Status.WARN
                    || finding.verdict().filter(Verdict::past).isPresent();
            unposted |= finding.verdict().isPresent() && finding.verdict().get().isUnposted();
            looked |= finding.status() != Status.UNKNOWN;
        }
        if (strict && unposted && !fails) {
            return ExitCode.of(Hop.POSTING);
        }
        return fails || strict && warns ? ExitCode.FAILED : looked ? ExitCode.OK : ExitCode.COULD_NOT_RUN;
    }
}
