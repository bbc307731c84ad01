/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.cli.frame.Columns;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.Verdict;
import io.kvmirq.diag.screens.HostScan;
import io.kvmirq.diag.screens.PathsCheck;
import io.kvmirq.diag.sources.GuestRates;
import io.kvmirq.diag.sources.GuestRates.Rate;
import io.kvmirq.diag.sources.Guests;
import io.kvmirq.diag.sources.Guests.Guest;
import io.kvmirq.diag.sources.Guests.Vcpus;
import io.kvmirq.diag.sources.Guests.Worker;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import io.kvmirq.text.Foreign;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Prints a host's guests, one per row, as text or JSON. */
final class GuestTable {
    private static final List<String> COLUMNS = List.of(
            "guest",
            "process",
            "vCPUs",
            "running",
            "halted",
            "stopped",
            "exits/s",
            "injected/s",
            "vectors",
            "eventfds",
            "vhost",
            "on CPU");

    private final Terminal terminal;

    GuestTable(Terminal terminal) {
        this.terminal = terminal;
    }

    /** @param seen the second look; empty if there was one look */
    void print(HostFacts host, Guests guests, Optional<GuestRates.Seen> seen, boolean json) {
        if (json) {
            write(host, guests, seen);
            return;
        }
        if (guests.all().isEmpty()) {
            terminal.line("no visible process has a VM open");
        } else {
            terminal.line(terminal.bold(Foreign.printable(headline(host, guests.all()))));
            List<List<String>> rows = new ArrayList<>();
            rows.add(COLUMNS);
            Map<Integer, Rate> rates = seen.map(GuestRates.Seen::rates).orElse(Map.of());
            guests.all()
                    .forEach(guest -> rows.add(cells(
                            guest, Optional.ofNullable(rates.get(guest.process().pid())))));
            Columns.print(rows, terminal);
            terminal.line(host.command("list --vm NAME") + " lists a guest's vectors, and "
                    + host.command("explain --vm NAME") + " shows their paths");
        }
        if (seen.isPresent() && !seen.get().hasAll()) {
            terminal.note("exits/s, injected/s: KVM's counters were missing at the start or end of the watch; "
                    + host.forDebugfs("look while the guest runs"));
        }
        long unseen = guests.all().stream()
                .map(Guest::vcpus)
                .filter(vcpus -> vcpus.all() > 0 && vcpus.notShown() == vcpus.all())
                .count();
        if (unseen > 0) {
            terminal.note("running, halted, stopped: no file shows the vCPU threads of " + unseen
                    + (unseen == 1 ? " guest; " : " guests; ") + host.forDebugfs(Guests.NAMES));
        }
        guests.notes().forEach(terminal::note);
    }

    /** The verdict about the guest whose VMM is worst. */
    private static String headline(HostFacts host, List<Guest> guests) {
        String all = guests.size() == 1 ? "" : " (one of " + guests.size() + " guests)";
        List<InterruptPath> paths = paths(host, guests);
        return Stream.of(Link.State.BROKEN, Link.State.DOUBTFUL)
                .flatMap(state ->
                        paths.stream().filter(path -> path.links().get(0).state() == state))
                .findFirst()
                .or(() -> paths.stream()
                        .filter(path -> HostScan.slowed(path).isPresent())
                        .findFirst())
                .map(path -> ExplainText.headline(path, all, paths))
                .orElse(
                        guests.size() == 1
                                ? "guest " + guests.get(0).process().name() + " is running; no flaw is visible"
                                : "all " + guests.size() + " guests are running; no flaw is visible");
    }

    private static List<InterruptPath> paths(HostFacts host, List<Guest> guests) {
        return guests.stream()
                .flatMap(guest -> PathsCheck.paths(host, guest, true).stream())
                .toList();
    }

    private static List<String> cells(Guest guest, Optional<Rate> rate) {
        Vcpus vcpus = guest.vcpus();
        boolean shown = vcpus.notShown() < vcpus.all();
        return List.of(
                Foreign.printable(guest.process().name(), Columns.WIDEST_COLUMN),
                String.valueOf(guest.process().pid()),
                String.valueOf(vcpus.all()),
                count(vcpus.running(), shown),
                count(vcpus.halted(), shown),
                count(vcpus.stopped(), shown),
                cell(rate.map(Rate::exits)),
                cell(rate.map(Rate::injected)),
                String.valueOf(guest.vectors()),
                String.valueOf(guest.process().eventfds().size()),
                guest.vhostFiles().isEmpty()
                        ? "-"
                        : String.valueOf(guest.workers().size()),
                guest.workers().isEmpty() ? "-" : cpus(guest));
    }

    private static String count(int count, boolean shown) {
        return shown ? String.valueOf(count) : "-";
    }

    private static String cell(Optional<OptionalLong> value) {
        OptionalLong number = value.orElse(OptionalLong.empty());
        return number.isPresent() ? String.valueOf(number.getAsLong()) : "-";
    }

    private static String cpus(Guest guest) {
        String all = guest.workers().stream()
                .map(Worker::cpu)
                .distinct()
                .sorted()
                .map(String::valueOf)
                .collect(Collectors.joining(","));
        return Foreign.printable(all, Columns.WIDEST_COLUMN);
    }

    private void write(HostFacts host, Guests guests, Optional<GuestRates.Seen> seen) {
        Map<Integer, Rate> rates = seen.map(GuestRates.Seen::rates).orElse(Map.of());
        List<InterruptPath> paths = paths(host, guests.all());
        Json.print(terminal, "list", host, json -> {
            ExplainText.write(json, Verdict.judge(paths, List.of(), List.of()), paths);
            json.value("milliseconds", seen.map(GuestRates.Seen::watched))
                    .objects("guests", guests.all(), (to, guest) -> {
                        VmProcess process = guest.process();
                        to.value("guest", process.name())
                                .value("pid", process.pid())
                                .value("vms", process.vms().size())
                                .object("vcpus", vcpus -> vcpus.record(guest.vcpus())
                                        .value("notShown", guest.vcpus().notShown()))
                                .value("devices", process.devices())
                                .value("vectors", guest.vectors())
                                .value("eventfds", process.eventfds().size())
                                .value("vhostFiles", guest.vhostFiles())
                                .value("vhostWorkers", guest.workers())
                                .value("kernelHelpers", guest.helpers())
                                .value("exits", guest.exits())
                                .value("injected", guest.injected())
                                .value("perSecond", Optional.ofNullable(rates.get(process.pid())));
                    })
                    .value("notes", guests.notes());
        });
    }
}
