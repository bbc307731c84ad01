/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.Gsi;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.cli.frame.Columns;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Nagios;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.cli.frame.UnreadableInputException;
import io.kvmirq.cli.frame.Version;
import io.kvmirq.diag.Verdict;
import io.kvmirq.diag.screens.HostScan;
import io.kvmirq.diag.screens.Listing;
import io.kvmirq.diag.screens.LiveChains;
import io.kvmirq.diag.screens.Metrics;
import io.kvmirq.diag.screens.PathsCheck;
import io.kvmirq.diag.sources.GuestRates;
import io.kvmirq.diag.sources.Guests;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveHost;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.text.Foreign;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Predicate;
import java.util.function.ToIntFunction;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq list}: lists a host's guests, or their devices' vectors. Only {@code --live} writes to the host. */
public final class ListCommand implements Command {
    private static final List<String> COLUMNS = List.of(
            "host irq",
            "device",
            "vector",
            "guest",
            "count",
            "per s",
            "CPU",
            "vCPU",
            "GSI",
            "guest vector",
            "posted",
            "flaw or reason not posted");

    /** The refusal of a host that does not show its host irqs. */
    public static final String NO_INTERRUPTS =
            "/proc/interrupts cannot be read, or is empty, as in a copy made by tar: copy it with cat";

    /** The option for the numbers of a host. */
    public static final String TEXTFILE = "--textfile";

    /** Null for this machine: other commands start faster without its classes. */
    private final @Nullable LiveHost machine;

    /** Watches this machine, if {@code --live} is given. */
    public ListCommand() {
        this(null);
    }

    /** @param machine what {@code --live} watches */
    ListCommand(@Nullable LiveHost machine) {
        this.machine = machine;
    }

    @Override
    public void describe(Usage usage) {
        usage.description("Prints a row for each process that has a VM open: guest, process, vCPUs (running; halted"
                        + " in KVM; stopped, traced or outside of KVM_RUN), and its interrupt sources: vectors that"
                        + " VFIO has armed, eventfds, and vhost workers with their CPUs. With --live, also prints"
                        + " exits and injected interrupts per second. With --vm, --device or --all, instead prints a"
                        + " row for each PCI device vector that VFIO has armed, flawed ones first: host irq, device,"
                        + " vector, guest, how often the host handled it (per second with --live), host CPU, vCPU,"
                        + " GSI, guest vector, whether hardware posts it, and its flaw or why it is not posted. A"
                        + " column without a known value is omitted; '-' marks other values that no file shows, and a"
                        + " line below explains how to see them. '?' marks an inferred value. Reads sysfs, /proc and"
                        + " debugfs. Writes only FILE with --textfile, and to tracefs with --live. Only root sees"
                        + " other users' guests. Exits with 3 if the host has no such device or guest, or"
                        + " /proc/interrupts cannot be read.")
                .footer(Stream.concat(
                                HostChoice.FILES.stream(),
                                Stream.of("", "Example: kvmirq list", "         kvmirq list --vm web"))
                        .toArray(String[]::new));
        usage.add(Command.option("--vm", "NAME|PID", String.class)
                .description("List the device vectors of a guest, given by name or process id."));
        usage.add(Command.option("--device", "BDF", String.class).description("Show only this device's vectors."));
        usage.add(OptionSpec.builder("--all").description("List all device vectors."));
        usage.add(Nagios.option());
        usage.add(Command.option(TEXTFILE, "FILE", Path.class)
                .description("Write this host's metrics to FILE in Prometheus' text format instead of a table, for"
                        + " the node exporter's textfile collector. FILE is replaced once the new one is on disk. The"
                        + " collector requires a name that ends in .prom."));
        LiveOption.describe(usage);
        MemoryOption.describe(usage);
        HostSource.describe(usage);
        ManyHosts.describe(usage);
        usage.add(Command.json());
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        Optional<PciAddress> device = HostChoice.device(arguments);
        List<Path> hosts = ManyHosts.parse(arguments);
        if (!hosts.isEmpty()) {
            Predicate<PciAddress> chosen =
                    address -> device.isEmpty() || device.get().equals(address);
            return ManyHosts.print(hosts, arguments, chosen, COLUMNS, row -> cells(row, Optional.empty()), terminal);
        }
        Optional<LiveOption> live = LiveOption.parse(arguments, machine).map(LiveOption::byTracepoints);
        HostFacts host = new HostFacts(LiveOption.files(live, arguments), terminal.host());
        boolean vectors = Stream.of("--vm", "--device", "--all", Nagios.OPTION).anyMatch(arguments::hasMatchedOption);
        Predicate<PciAddress> wanted = address -> true;
        List<VmProcess> guests = List.of();
        if (device.isPresent()) {
            wanted = HostChoice.device(host, device.get()).address()::equals;
        }
        if (arguments.hasMatchedOption("--vm")) {
            guests = HostChoice.guests(host, arguments.matchedOptionValue("--vm", ""));
            if (live.isEmpty()
                    && guests.stream().allMatch(guest -> guest.devices().isEmpty())) {
                throw HostChoice.withoutDevice(host, guests.get(0).name());
            }
            wanted = wanted.and(
                    guests.stream().flatMap(guest -> guest.devices().stream()).collect(Collectors.toSet())::contains);
        }
        Optional<Path> textfile = Optional.ofNullable(arguments.matchedOptionValue(TEXTFILE, null));
        if (textfile.isPresent()) {
            Commands.read(arguments, () -> requireAlone(arguments));
        }
        if (host.interrupts().isEmpty()) {
            throw new UnreadableInputException(NO_INTERRUPTS);
        }
        if (textfile.isPresent()) {
            try (KernelPaths memory = MemoryOption.open(arguments, machine)) {
                return write(textfile.get(), HostScan.run(host, memory), terminal)
                        ? ExitCode.OK
                        : ExitCode.COULD_NOT_RUN;
            }
        }
        if (!vectors) {
            return guests(host, live, arguments, terminal);
        }
        try (KernelPaths memory = MemoryOption.open(arguments, machine)) {
            return vectors(host, wanted, guests, live, memory, arguments, terminal);
        }
    }

    private static int vectors(
            HostFacts host,
            Predicate<PciAddress> wanted,
            List<VmProcess> guests,
            Optional<LiveOption> live,
            KernelPaths memory,
            ParseResult arguments,
            Terminal terminal) {
        if (live.isEmpty()) {
            Listing listing = Listing.read(host, wanted, UnaryOperator.identity(), memory);
            return answer(host, guests, listing, Optional.empty(), arguments, terminal);
        }
        List<PciAddress> devices = host.boundToVfio().stream().filter(wanted).toList();
        return live.get().run(host, devices, guests, terminal, seen -> {
            Listing listing = Listing.read(seen.host(), wanted, LiveChains.of(seen.live(), seen.host())::of, memory);
            return answer(seen.host(), guests, listing, Optional.of(seen.live()), arguments, terminal);
        });
    }

    /** @throws IllegalArgumentException if another option asks for a table */
    private static List<String> requireAlone(ParseResult arguments) {
        List<String> others = Stream.of("--vm", "--device", "--all", Nagios.OPTION, "--live", "--json")
                .filter(arguments::hasMatchedOption)
                .toList();
        if (!others.isEmpty()) {
            throw new IllegalArgumentException(TEXTFILE + " writes the metrics of all guests, and " + others.get(0)
                    + " prints something else: use one of them");
        }
        return others;
    }

    /** Writes the numbers of a host. Returns false, after an error message, if the file cannot be written. */
    public static boolean write(Path file, HostScan scan, Terminal terminal) {
        byte[] text = Metrics.render(scan, Version.number()).getBytes(StandardCharsets.UTF_8);
        return NewFile.replace(file, terminal, out -> out.write(text));
    }

    private static int guests(HostFacts host, Optional<LiveOption> live, ParseResult arguments, Terminal terminal) {
        GuestTable table = new GuestTable(terminal);
        boolean json = arguments.hasMatchedOption("--json");
        if (live.isEmpty()) {
            table.print(host, Guests.find(host), Optional.empty(), json);
            return ExitCode.OK;
        }
        return live.get().run(terminal, () -> GuestRates.of(live.get().machine()), looks -> {
            GuestRates.Seen seen = looks.end();
            table.print(seen.host(), seen.guests(), Optional.of(seen), json);
            return ExitCode.OK;
        });
    }

    private static int answer(
            HostFacts host,
            List<VmProcess> of,
            Listing listing,
            Optional<Live> live,
            ParseResult arguments,
            Terminal terminal) {
        // The vectors of one device do not pass what serves others.
        List<InterruptPath> guests = arguments.hasMatchedOption("--device")
                ? List.of()
                : PathsCheck.flawedGuests(host).stream()
                        .filter(path -> path.subject() != Flaw.Subject.GUEST
                                || listing.chains().stream()
                                        .noneMatch(chain -> chain.guest().equals(path.guest())))
                        .filter(path -> of.isEmpty()
                                || of.stream().anyMatch(process -> path.guest().equals(Optional.of(process.asGuest()))))
                        .toList();
        if (arguments.hasMatchedOption(Nagios.OPTION)) {
            return new ExplainText(terminal).graded(host, listing.chains(), guests, verdict(listing, guests));
        }
        if (arguments.hasMatchedOption("--json")) {
            Json.print(terminal, "list", host, json -> {
                json.value("vectors", listing.rows());
                ExplainText.write(
                        json,
                        verdict(listing, guests),
                        Stream.concat(listing.chains().stream(), guests.stream())
                                .toList());
                json.value("notes", listing.notes());
                live.ifPresent(found -> LiveOption.write(json, found));
            });
        } else {
            print(host, listing, guests, live, terminal);
            live.ifPresent(found -> LiveOption.print(found, terminal));
        }
        return ExitCode.OK;
    }

    private static Verdict verdict(Listing listing, List<InterruptPath> guests) {
        return Verdict.judge(
                Stream.concat(listing.chains().stream(), guests.stream()).toList(), List.of(), List.of());
    }

    private static void print(
            HostFacts host, Listing listing, List<InterruptPath> guests, Optional<Live> live, Terminal terminal) {
        if (!listing.chains().isEmpty() || !guests.isEmpty()) {
            ExplainText.headlines(listing.chains(), guests, verdict(listing, guests))
                    .forEach(line -> terminal.line(terminal.bold(Foreign.printable(line))));
        }
        if (listing.rows().isEmpty()
                && (listing.chains().isEmpty() || host.armed().isEmpty())) {
            terminal.line("VFIO has armed no device vectors");
        } else if (!listing.rows().isEmpty()) {
            List<List<String>> table = new ArrayList<>();
            table.add(COLUMNS);
            listing.rows().forEach(row -> table.add(cells(row, live)));
            Columns.print(table, terminal);
        }
        if (listing.rows().stream()
                .anyMatch(row -> !mark(row.vcpuEvidence()).isEmpty()
                        || !mark(row.postedEvidence()).isEmpty())) {
            terminal.line("? marks an inferred value; " + host.command("explain") + " shows the evidence");
        }
        listing.notes().forEach(terminal::note);
    }

    private static List<String> cells(Listing.Row row, Optional<Live> live) {
        return List.of(
                String.valueOf(row.hostIrq().number()),
                row.device().toString(),
                row.interrupt(),
                Foreign.printable(row.guest().orElse("-"), Columns.WIDEST_COLUMN),
                String.valueOf(row.count()),
                live.map(found -> rate(row, found)).orElse("-"),
                row.cpus()
                        .map(cpus -> Foreign.printable(cpus, Columns.WIDEST_COLUMN))
                        .orElse("-"),
                listed(row.vcpus(), VcpuId::number)
                        .map(vcpus -> vcpus + mark(row.vcpuEvidence()))
                        .orElse("-"),
                listed(row.gsis(), Gsi::number).orElse("-"),
                row.guestVector().orElse("-"),
                row.posted()
                        .map(yes -> (yes ? "yes" : "no") + mark(row.postedEvidence()))
                        .orElse("-"),
                Foreign.printable(row.flaw().or(row::why).orElse("-")));
    }

    private static String rate(Listing.Row row, Live live) {
        OptionalLong grew = live.grew("host irq " + row.hostIrq().number());
        double seconds = Math.max(1, live.watched().toMillis()) / 1000.0;
        return grew.isPresent() ? String.format(Locale.ROOT, "%.1f", grew.getAsLong() / seconds) : "-";
    }

    private static <T> Optional<String> listed(List<T> all, ToIntFunction<T> number) {
        return all.stream()
                .map(item -> String.valueOf(number.applyAsInt(item)))
                .reduce((numbers, item) -> numbers + ", " + item);
    }

    private static String mark(Optional<Evidence.Kind> evidence) {
        return evidence.filter(Evidence.Kind.INFERRED::equals).map(same -> "?").orElse("");
    }
}
