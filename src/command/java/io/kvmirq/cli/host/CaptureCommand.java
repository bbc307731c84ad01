/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.Capture;
import io.kvmirq.diag.CaptureDiff;
import io.kvmirq.text.Foreign;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq capture}: keeps what the other commands read of a host, to be analysed on another machine. */
public final class CaptureCommand implements Command {
    @Override
    public String name() {
        return "capture";
    }

    @Override
    public String summary() {
        return "Save the files of this host that an analysis reads in one archive, without names and addresses.";
    }

    @Override
    public void describe(Usage usage) {
        usage.spec()
                .usageMessage()
                .description("Lists the files of this host that kvmirq reads to say where interrupts go. With -o, also"
                        + " writes them into a zip archive, which only its owner may read; other commands take it"
                        + " with --from. Names of hosts and guests, network addresses, places of file systems and unknown"
                        + " words of command lines are taken out; network interfaces become net-1, net-2 and so on."
                        + " Reads only files that the other commands read, too; as root it can read more of them."
                        + " With --diff, shows which findings and"
                        + " files changed between two archives.")
                .footer("", "Example: kvmirq capture -o host.zip; kvmirq vfio --from host.zip");
        usage.add(OptionSpec.builder("-o", "--output")
                .paramLabel("FILE")
                .type(Path.class)
                .description("Write the archive to FILE, which may not exist yet."));
        usage.add(OptionSpec.builder("--unredacted").description("Leave names and addresses in it."));
        usage.add(OptionSpec.builder("--diff").description("Show the changes from archive A to archive B."));
        usage.add(Command.parameters("0", "0..2", "ARCHIVE").description("The two archives of --diff."));
        HostSource.describe(usage);
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        try {
            List<String> archives = Command.words(arguments);
            boolean diff = arguments.hasMatchedOption("--diff");
            if (archives.size() != (diff ? 2 : 0)) {
                throw new IllegalArgumentException(
                        diff
                                ? "--diff has " + (archives.size() == 1 ? "one archive" : "no archives")
                                        + ": expected two, --diff A B"
                                : "argument " + Foreign.quoted(archives.get(0))
                                        + " is unexpected: expected --diff A B, or -o FILE");
            }
            if (diff) {
                return diff(Path.of(archives.get(0)), Path.of(archives.get(1)), terminal);
            }
            Optional<Path> output = Optional.ofNullable(arguments.matchedOptionValue("-o", null));
            if (output.isPresent() && NewFile.isRefused(output.get(), terminal)) {
                return ExitCode.COULD_NOT_RUN;
            }
            Capture capture = Capture.of(
                    HostSource.withoutPci(arguments), Capture::analysis, !arguments.hasMatchedOption("--unredacted"));
            return keep(capture, output, terminal);
        } catch (IllegalArgumentException e) {
            terminal.complain(e.getMessage() + ". See kvmirq capture --help");
            return ExitCode.USAGE;
        }
    }

    private static int diff(Path before, Path after, Terminal terminal) {
        Capture first = HostSource.capture(before);
        Capture second = HostSource.capture(after);
        if (first.redacted() != second.redacted()) {
            terminal.out()
                    .println(FileSentence.shown(first.redacted() ? after : before) + " has names and addresses, which "
                            + FileSentence.shown(first.redacted() ? before : after)
                            + " has not: they are left out of the comparison");
        }
        List<CaptureDiff> changes = new ArrayList<>(CaptureDiff.ofFindings(first, second));
        changes.addAll(CaptureDiff.of(first, second));
        for (CaptureDiff change : changes) {
            String end = change.before() ? change.after() ? "" : " is gone" : " is new";
            terminal.out().println(terminal.bold(Terminal.printable(change.path()) + end));
            change.gone().forEach(line -> terminal.out().println("  - " + Terminal.printable(line)));
            change.added().forEach(line -> terminal.out().println("  + " + Terminal.printable(line)));
        }
        if (changes.isEmpty()) {
            terminal.out().println("nothing changed, except counts of interrupts");
        }
        return changes.isEmpty() ? ExitCode.OK : ExitCode.FAILED;
    }

    private static int keep(Capture capture, Optional<Path> output, Terminal terminal) {
        capture.files().forEach((path, content) -> terminal.out()
                .println(String.format("%9d  /%s", content.length, Terminal.printable(path))));
        capture.links().forEach((path, target) -> terminal.out()
                .println("     link  /" + Terminal.printable(path) + " -> " + Terminal.printable(target)));
        capture.denied().forEach(path -> terminal.out().println("   denied  /" + Terminal.printable(path)));
        capture.owners().keySet().forEach(path -> terminal.out().println("    owner  /" + Terminal.printable(path)));
        String what = capture.files().size() + " files, " + capture.links().size() + " links, "
                + (capture.redacted() ? "without names and addresses" : "with names and addresses");
        if (output.isEmpty()) {
            terminal.out().println(what + "; nothing is written: -o FILE writes an archive");
            return ExitCode.OK;
        }
        Path file = output.get();
        if (!NewFile.write(file, terminal, capture::write)) {
            return ExitCode.COULD_NOT_RUN;
        }
        terminal.out().println(what + ", written to " + FileSentence.shown(file));
        return ExitCode.OK;
    }
}
