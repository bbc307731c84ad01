/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Nagios;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.cli.frame.UnreadableInputException;
import io.kvmirq.diag.Verdict;
import io.kvmirq.diag.screens.Change;
import io.kvmirq.diag.screens.GuestRows;
import io.kvmirq.diag.screens.HostScan;
import io.kvmirq.diag.screens.LiveChains;
import io.kvmirq.diag.screens.MemoryEvidence;
import io.kvmirq.diag.screens.PathsCheck;
import io.kvmirq.diag.sources.Guests;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.InterruptPath;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import picocli.CommandLine.ParseResult;

/**
 * The answer of {@code kvmirq explain}, as text, as JSON or as one line for monitoring.
 *
 * @param chains empty if no guest has a device
 * @param guests the paths of the guests on the command line, and of their helpers
 * @param rows of each of these guests
 */
record ExplainAnswer(
        HostFacts host,
        List<InterruptPath> chains,
        List<InterruptPath> guests,
        List<GuestRows> rows,
        Optional<List<Change>> changes,
        Optional<Live> live,
        KernelPaths memory) {
    /** The answer of files. */
    static ExplainAnswer of(HostFacts host, ExplainQuestion question, KernelPaths memory, Optional<Path> earlier) {
        List<InterruptPath> chains = question.chains(host, memory);
        List<VmProcess> guests = question.sources(host);
        return new ExplainAnswer(
                host,
                chains,
                PathsCheck.ofGuests(host, guests),
                GuestRows.read(host, guests),
                earlier.map(capture -> Change.between(earlier(capture, question), chains)),
                Optional.empty(),
                memory);
    }

    /** The chains of an earlier capture. None if it has no such device or guest. */
    private static List<InterruptPath> earlier(Path capture, ExplainQuestion question) {
        try {
            return question.chains(new HostFacts(HostSource.capture(capture)), KernelPaths.none());
        } catch (UnreadableInputException e) {
            return List.of();
        }
    }

    /** The answer of a watch; a guest or a device may have gone meanwhile. */
    static ExplainAnswer of(LiveOption.Watched seen, ExplainQuestion question, KernelPaths memory, Terminal terminal) {
        List<InterruptPath> chains = List.of();
        List<VmProcess> sources = List.of();
        try {
            chains = question.chains(seen.host(), memory);
            sources = question.sources(seen.host());
        } catch (UnreadableInputException e) {
            terminal.complain(e.getMessage() + ": it was there when the watch began");
        }
        LiveChains with = LiveChains.of(seen.live(), seen.host());
        return new ExplainAnswer(
                seen.host(),
                chains.stream().map(with::of).toList(),
                PathsCheck.ofGuests(seen.host(), sources).stream().map(with::of).toList(),
                GuestRows.read(seen.host(), sources).stream()
                        .map(GuestRows::afterWatch)
                        .toList(),
                Optional.empty(),
                Optional.of(seen.live()),
                memory);
    }

    /** The flaws of the helpers of a device's guest, which the device's interrupts do not pass. */
    private Stream<String> beside() {
        return Guests.find(host).all().stream()
                .filter(guest -> chains.stream().anyMatch(chain -> chain.guest()
                        .equals(Optional.of(guest.process().asGuest()))))
                .flatMap(guest -> PathsCheck.paths(host, guest, false).stream())
                .filter(path -> HostScan.flaw(path).isPresent())
                .map(path -> ExplainText.headline(path, "", chains));
    }

    private List<InterruptPath> of(GuestRows rows) {
        return guests.stream()
                .filter(path -> path.guest().equals(Optional.of(rows.guest())))
                .toList();
    }

    /** The paths of a guest that no chain shows; its helpers only if it has virtio or they have a flaw. */
    private List<InterruptPath> shown(GuestRows rows) {
        boolean isAlone = chains.stream().noneMatch(chain -> chain.guest().equals(Optional.of(rows.guest())));
        return of(rows).stream()
                .filter(path -> isAlone
                        || path.subject() == Flaw.Subject.HELPER
                                && (rows.virtio()
                                        || !path.links().get(0).flaws().isEmpty()))
                .toList();
    }

    /** Returns the exit code. */
    int print(ParseResult arguments, Terminal terminal) {
        List<InterruptPath> shown =
                rows.stream().flatMap(guest -> shown(guest).stream()).toList();
        Verdict verdict = Verdict.judge(
                Stream.concat(chains.stream(), shown.stream()).toList(),
                List.of(),
                live.map(Live::stages).orElse(List.of()));
        boolean unseen = !chains.isEmpty() && chains.stream().allMatch(InterruptPath::isUnseen)
                || arguments.hasMatchedOption("--all")
                        && host.vms().all().isEmpty()
                        && host.hidesProcesses().isPresent();
        int exitCode = ExitCode.of(verdict, arguments.hasMatchedOption("--strict"))
                .orElse(unseen ? ExitCode.COULD_NOT_RUN : ExitCode.OK);
        if (arguments.hasMatchedOption(Nagios.OPTION)) {
            return new ExplainText(terminal).graded(host, chains, shown, verdict);
        }
        if (arguments.hasMatchedOption("--json")) {
            Json.print(terminal, "explain", host, json -> {
                json.objects("paths", chains, (to, path) -> to.record(path)
                                .value("pid", path.guest().map(InterruptPath.Guest::process))
                                .value("fails", path.fails()))
                        .objects("sources", rows, (to, rows) -> to.value("guest", rows.guest())
                                .value("virtio", rows.virtio())
                                .value("vmm", of(rows).get(0).links().get(0))
                                .value("others", of(rows).get(1).links().get(0))
                                .value("rows", rows.rows()));
                ExplainText.write(
                        json,
                        verdict,
                        Stream.concat(chains.stream(), shown.stream()).toList());
                changes.ifPresent(all -> json.value("changes", all));
                live.ifPresent(live -> LiveOption.write(json, live));
                if (arguments.hasMatchedOption(ExplainCommand.EVIDENCE)) {
                    json.value("kernelMemory", MemoryEvidence.compare(host, chains, memory));
                }
                json.value("exitCode", exitCode);
            });
            return exitCode;
        }
        List<String> verdicts = Stream.concat(
                        ExplainText.headlines(chains, shown, verdict).stream(), rows.isEmpty() ? beside() : Stream.of())
                .toList();
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        print(new ExplainText(terminal.printing(all)), verdicts, verdict, arguments);
        live.ifPresent(live -> LiveOption.print(live, terminal.printing(all)));
        String text = all.toString(StandardCharsets.UTF_8);
        terminal.out().print(text);
        if (terminal.rows() > 0 && text.lines().count() >= terminal.rows()) {
            new ExplainText(terminal).verdicts(verdicts); // the first line has left the screen
        }
        return exitCode;
    }

    private void print(ExplainText text, List<String> verdicts, Verdict verdict, ParseResult arguments) {
        text.verdicts(verdicts);
        if (!chains.isEmpty()) {
            text.print(chains, verdict.counted() ? verdict : Verdict.judge(chains, List.of(), List.of()));
        }
        rows.stream().filter(guest -> !shown(guest).isEmpty()).forEach(guest -> text.print(shown(guest), guest));
        if (arguments.hasMatchedOption(ExplainCommand.EVIDENCE)) {
            text.memory(MemoryEvidence.compare(host, chains, memory));
        }
        changes.ifPresent(text::changes);
    }
}
