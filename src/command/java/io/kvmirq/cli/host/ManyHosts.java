/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.PciAddress;
import io.kvmirq.cli.frame.Columns;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.cli.frame.UnreadableInputException;
import io.kvmirq.diag.screens.HostScan;
import io.kvmirq.diag.screens.Listing;
import io.kvmirq.diag.screens.PathsCheck;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.text.Foreign;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.Stream;
import picocli.CommandLine.ParseResult;

/** {@code list --from FILE FILE...}: one table of the vectors of several captured hosts, flawed ones first. */
final class ManyHosts {
    private static final String FROM = "--from";

    private ManyHosts() {}

    static void describe(Command.Usage usage) {
        usage.add(Command.parameters("0..*", "0..*", "FILE")
                .description("More archives, in addition to --from; one table lists the vectors of all hosts."));
    }

    /** The captures, if more than one is given. Files without --from, or with an option for one host, are a usage error. */
    static List<Path> parse(ParseResult arguments) {
        List<String> more = Command.words(arguments);
        if (more.isEmpty()) {
            return List.of();
        }
        return Commands.read(arguments, () -> {
            if (!arguments.hasMatchedOption(FROM)) {
                throw new IllegalArgumentException(Foreign.quoted(more.get(0)) + " is not an option: " + FROM
                        + " must come before the archives of several hosts");
            }
            Stream.of("--json", "--nagios", "--live", ListCommand.TEXTFILE)
                    .filter(arguments::hasMatchedOption)
                    .findFirst()
                    .ifPresent(option -> {
                        throw new IllegalArgumentException(option + " works on one host only: use one archive");
                    });
            Path first = arguments.matchedOptionValue(FROM, Path.of(""));
            return Stream.concat(Stream.of(first), more.stream().map(Path::of)).toList();
        });
    }

    /**
     * Prints the table. A file that is no capture is named on stderr, and the others are listed.
     *
     * @param columns the head, without that of the host
     * @param cells of a row
     */
    static int print(
            List<Path> files,
            ParseResult arguments,
            Predicate<PciAddress> wanted,
            List<String> columns,
            Function<Listing.Row, List<String>> cells,
            Terminal terminal) {
        Optional<String> guest = Optional.ofNullable(arguments.matchedOptionValue("--vm", null));
        List<List<String>> flawed = new ArrayList<>(List.of(before("host", columns)));
        List<List<String>> whole = new ArrayList<>();
        boolean all = guest.isEmpty() && !arguments.hasMatchedOption("--device");
        int hosts = 0;
        int guests = 0;
        for (Path file : files) {
            try {
                HostFacts host = new HostFacts(HostSource.capture(file), " " + FROM + " " + file);
                String name = Foreign.printable(String.valueOf(file.getFileName()), Columns.WIDEST_COLUMN);
                for (Listing.Row row : Listing.read(host, wanted).rows()) {
                    if (guest.isEmpty()
                            || guest.equals(row.guest())
                            || guest.equals(row.pid().map(String::valueOf))) {
                        (row.flaw().isPresent() ? flawed : whole).add(before(name, cells.apply(row)));
                    }
                }
                for (InterruptPath path : all ? PathsCheck.flawedGuests(host) : List.<InterruptPath>of()) {
                    List<String> row = new ArrayList<>(Collections.nCopies(columns.size() + 1, "-"));
                    row.set(0, name);
                    row.set(
                            1 + columns.indexOf("guest"),
                            Foreign.printable(path.guest().orElseThrow().name(), Columns.WIDEST_COLUMN));
                    row.set(
                            columns.size(),
                            Foreign.printable(HostScan.text(HostScan.flaw(path).orElseThrow())));
                    flawed.add(row);
                    guests++;
                }
                hosts++;
            } catch (UnreadableInputException e) {
                terminal.complain(e.getMessage());
            }
        }
        int broken = flawed.size() - 1 - guests;
        String sum = hosts + " hosts, " + (broken + whole.size()) + " vectors, " + broken + " with a flaw"
                + (guests == 0 ? "" : ", " + guests + (guests == 1 ? " VMM" : " VMMs") + " with a flaw");
        terminal.line(terminal.bold(sum + "; 'kvmirq explain BDF --from FILE' explains a flaw"));
        flawed.addAll(whole);
        if (flawed.size() > 1) {
            Columns.print(flawed, terminal);
        }
        return hosts == files.size() ? ExitCode.OK : ExitCode.COULD_NOT_RUN;
    }

    private static List<String> before(String first, List<String> others) {
        return Stream.concat(Stream.of(first), others.stream()).toList();
    }
}
