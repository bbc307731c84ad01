/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.screens.Archive;
import io.kvmirq.diag.screens.Capture;
import io.kvmirq.diag.sources.Guests;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.text.Foreign;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq capture}: saves the files that the other commands read on a host, for analysis on another machine. */
public final class CaptureCommand implements Command {
    @Override
    public void describe(Usage usage) {
        usage.description("Lists this host's files that kvmirq reads. With -o, also writes them into a zip archive"
                        + " that only its owner can read; other commands read it with --from. Host and guest names,"
                        + " network addresses, mount points and unknown command-line words are removed. Guests,"
                        + " control groups, network interfaces and disks are renamed to hashes of the old name"
                        + " and /etc/machine-id, so a name is the same in all archives of a host; without"
                        + " /etc/machine-id, they are numbered. Reads only files that other commands also read; root can read more of"
                        + " them. Opens no device and starts no VM.")
                .footer("", "Example: kvmirq capture -o host.zip; kvmirq vfio --from host.zip");
        usage.add(OptionSpec.builder("-o", "--output")
                .paramLabel("FILE")
                .type(Path.class)
                .description("Write the archive to FILE, which must not exist yet."));
        usage.add(OptionSpec.builder("--unredacted")
                .description("Keep names, addresses and /etc/machine-id in the archive."));
        HostSource.describe(usage);
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        return Commands.read(arguments, () -> {
            Optional<Path> output = Optional.ofNullable(arguments.matchedOptionValue("-o", null));
            if (output.isPresent() && NewFile.isRefused(output.get(), terminal)) {
                return ExitCode.COULD_NOT_RUN;
            }
            Capture capture = Capture.take(
                    HostSource.withoutPci(arguments), Capture::analysis, !arguments.hasMatchedOption("--unredacted"));
            return keep(capture, output, terminal);
        });
    }

    private static int keep(Capture capture, Optional<Path> output, Terminal terminal) {
        capture.files()
                .forEach((path, content) ->
                        terminal.line(String.format("%9d  /%s", content.length, Terminal.printable(path))));
        capture.links()
                .forEach((path, target) ->
                        terminal.line("     link  /" + Terminal.printable(path) + " -> " + Terminal.printable(target)));
        capture.denied().forEach(path -> terminal.line("   denied  /" + Terminal.printable(path)));
        capture.owners().keySet().forEach(path -> terminal.line("    owner  /" + Terminal.printable(path)));
        guests(capture, terminal);
        String what = capture.files().size() + " files, " + capture.links().size() + " links, "
                + (capture.redacted() ? "without names and addresses" : "with names and addresses");
        if (output.isEmpty()) {
            terminal.line(what + "; nothing was written; use -o FILE to write an archive");
            return ExitCode.OK;
        }
        Path file = output.get();
        if (!NewFile.write(file, terminal, out -> Archive.write(capture, out))) {
            return ExitCode.COULD_NOT_RUN;
        }
        terminal.line(what + ", written to " + FileSentence.shown(file));
        return ExitCode.OK;
    }

    /** Prints the processes whose files are saved, and the kernel threads that work for them. */
    private static void guests(Capture capture, Terminal terminal) {
        HostFiles tree = capture.tree();
        Guests guests = Guests.find(new HostFacts(tree));
        for (Guests.Guest guest : guests.all()) {
            List<String> helpers = new ArrayList<>(guest.helpers());
            guest.workers().forEach(worker -> helpers.add("vhost " + worker.tid()));
            terminal.line("      VMM  /proc/" + guest.process().pid() + " of "
                    + Foreign.printable(guest.process().name())
                    + (helpers.isEmpty() ? "" : "; its kernel threads: " + String.join(", ", helpers)));
        }
        guests.notes().forEach(note -> terminal.line("     note  " + Foreign.printable(note)));
    }
}
