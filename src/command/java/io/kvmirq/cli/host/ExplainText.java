/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.DeviceName;
import io.kvmirq.HostIrq;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Nagios;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.Severity;
import io.kvmirq.diag.Verdict;
import io.kvmirq.diag.rules.Drift;
import io.kvmirq.diag.screens.Change;
import io.kvmirq.diag.screens.GuestRows;
import io.kvmirq.diag.screens.HostScan;
import io.kvmirq.diag.screens.MemoryEvidence;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Claim;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Interrupt;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.text.Foreign;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Prints chains as text. Their texts contain names from files, so all text is made printable. */
final class ExplainText {
    private static final int INDENT = 28;
    private static final int NOTE_INDENT = 8;
    private static final int VERDICT = 14;
    private static final int LISTED_NUMBERS = 4;

    private final Terminal terminal;

    ExplainText(Terminal terminal) {
        this.terminal = terminal;
    }

    /** Prints verdicts, of which the first one decides. */
    void verdicts(List<String> lines) {
        line(terminal.bold(printable(lines.get(0))), 2);
        lines.stream().skip(1).forEach(line -> line(printable(line), 2));
    }

    /**
     * Prints one chain in full: the one that breaks first, or else the first. For the others of its device, prints
     * where they break.
     */
    void print(List<InterruptPath> chains, Verdict verdict) {
        InterruptPath shown = firstToFail(chains);
        one(shown);
        others(shown, chains);
        line(verdict.broken().map(hop -> broken(hop, verdict.counted())).orElseGet(() -> seen(shown, verdict)));
    }

    private String broken(Hop<?> hop, boolean counted) {
        return terminal.bad((hop == Hop.POSTING
                        ? "not posted"
                        : (counted ? "first to lose interrupts: " : "first broken link: ") + hop.label())
                + " (exit code " + ExitCode.of(hop) + ")");
    }

    private String doubtful(Hop<?> hop) {
        return terminal.bold("nothing visible is broken; in doubt: " + hop.label() + " (exit code "
                + ExitCode.ofDoubt(hop) + " with --strict)");
    }

    /**
     * The verdicts, a sentence for each subject, the worst first: the interrupts of the devices of each guest that has a
     * flaw and of all others, each guest without a device and each helper with a flaw.
     *
     * @param guests the paths of guests and helpers
     * @param verdict of all
     */
    static List<String> headlines(List<InterruptPath> chains, List<InterruptPath> guests, Verdict verdict) {
        List<InterruptPath> all =
                Stream.concat(chains.stream(), guests.stream()).toList();
        List<Headline> lines = new ArrayList<>();
        Map<Optional<InterruptPath.Guest>, List<InterruptPath>> owners = chains.stream()
                .collect(Collectors.groupingBy(InterruptPath::guest, LinkedHashMap::new, Collectors.toList()));
        List<InterruptPath> fine = new ArrayList<>();
        for (List<InterruptPath> own : owners.values()) {
            Verdict ofOwn = Verdict.judge(own, List.of(), List.of());
            if (owners.size() > 1 && !verdict.counted() && ofOwn.isFlawed()) {
                lines.add(new Headline(ofOwn.rank(), headline(own, ofOwn, all)));
            } else {
                fine.addAll(own);
            }
        }
        if (!fine.isEmpty()) {
            Verdict ofFine = verdict.counted() ? verdict : Verdict.judge(fine, List.of(), List.of());
            lines.add(new Headline(ofFine.rank(), headline(fine, ofFine, all)));
        }
        for (InterruptPath path : guests) {
            Link link = path.links().get(0);
            if (link.isFlawed()
                    || HostScan.slowed(path).isPresent()
                    || chains.isEmpty() && path.subject() == Flaw.Subject.GUEST) {
                lines.add(new Headline(
                        Verdict.judge(List.of(path), List.of(), List.of()).rank(), headline(path, "", all)));
            }
        }
        List<String> texts = lines.stream()
                .sorted(Comparator.comparing(Headline::rank))
                .map(Headline::text)
                .toList();
        return !chains.isEmpty()
                ? texts
                : Stream.concat(
                                Stream.of(texts.stream()
                                                .findFirst()
                                                .map(first -> first + "; ")
                                                .orElse("") + "no VFIO PCI device is assigned"),
                                texts.stream().skip(1))
                        .toList();
    }

    /** Writes the verdict about some paths, and their flaws with the guest or the device that each is about. */
    static void write(Json json, Verdict verdict, List<InterruptPath> paths) {
        json.value("verdict", verdict).objects("flaws", HostScan.flaws(paths), (to, told) -> to.value(
                        "guest", told.guest().map(InterruptPath.Guest::name))
                .value("pid", told.guest().map(InterruptPath.Guest::process))
                .value("device", told.device().map(DeviceName::toString))
                .value("hop", told.hop())
                .record(told.flaw()));
    }

    /** @param rank 0 for a broken subject, 1 for one in doubt, 2 for another */
    private record Headline(int rank, String text) {}

    /** The verdict about the chains of devices in one sentence, for readers who know no link; not empty. */
    private static String headline(List<InterruptPath> chains, Verdict verdict, List<InterruptPath> among) {
        InterruptPath worst = firstToFail(chains);
        long same = chains.stream().filter(chain -> isSame(worst, chain)).count();
        String all = chains.size() + " interrupts of "
                + (chains.stream().map(InterruptPath::guest).distinct().count() > 1
                        ? "all guests"
                        : owner(worst, among));
        String name = worst.name() + " of " + worst.device();
        String who = chains.size() == 1
                ? worst.guest().isEmpty() ? name : name + " (" + owner(worst, among) + ")"
                : same == chains.size()
                        ? "all " + all
                        : same > 1 ? same + " of " + all : name + " (one of " + all + ")";
        boolean many = same > 1 || worst.interrupt().filter(Interrupt::isAll).isPresent();
        return who + (many ? " are " : " is ") + inWords(worst, verdict) + HostScan.slowedClause(chains);
    }

    /**
     * The verdict about a guest by the link of its VMM, or about its helpers.
     *
     * @param among all paths of the output, of which another may be of a guest with the same name
     */
    static String headline(InterruptPath path, String others, List<InterruptPath> among) {
        Link link = path.links().get(0);
        boolean ofHelper = link.flaws().stream()
                .findFirst()
                .filter(flaw -> flaw.subject() == Flaw.Subject.HELPER)
                .isPresent();
        String guest = called(path.guest().orElseThrow(), among) + others;
        return (ofHelper ? "a helper of " : "")
                + guest
                + (!link.isFlawed()
                        ? " has no visible flaw" + HostScan.slowedClause(List.of(path))
                        : (link.state() == Link.State.BROKEN ? " is stopped" : " is in doubt")
                                + (ofHelper ? ": " : " at the VMM: ")
                                + first(link));
    }

    private static String owner(InterruptPath chain, List<InterruptPath> among) {
        return chain.guest().map(guest -> called(guest, among)).orElse(chain.device());
    }

    /** The name of a guest; with its process, if it could be taken for a device, a process or another guest. */
    private static String called(InterruptPath.Guest guest, List<InterruptPath> among) {
        boolean isShared = among.stream()
                .flatMap(path -> path.guest().stream())
                .anyMatch(other -> other.name().equals(guest.name()) && other.process() != guest.process());
        boolean isNumber = guest.name().chars().allMatch(Character::isDigit);
        return "guest " + (isShared || isNumber || guest.name().contains(":") ? guest : guest.name());
    }

    private static String inWords(InterruptPath chain, Verdict verdict) {
        if (verdict.isUnposted()) {
            return "not posted, although this host supports posting: "
                    + chain.whyNot().map(ExplainText::first).orElse("see below");
        }
        Optional<Hop<?>> hop = verdict.broken().or(verdict::doubtful);
        if (hop.isPresent()) {
            String how = verdict.broken().isEmpty()
                    ? verdict.past() ? "in doubt only because of a count since boot," : "in doubt"
                    : verdict.counted()
                            ? "lost at times"
                            : hop.get() == Hop.VMM || hop.get() == Hop.VCPU
                                    ? "stopped"
                                    : chain.guest().isPresent() || HostScan.isArmed(chain)
                                            ? "lost"
                                            : "kept from guests";
            return how + " at the " + hop.get().label()
                    + chain.link(hop.get())
                            .filter(link -> !link.flaws().isEmpty() || link.state() == Link.State.BROKEN)
                            .map(link -> ": " + first(link))
                            .orElse("");
        }
        if (chain.isIdle() || chain.isUnseen()) {
            return chain.isIdle() ? "not used" : "not visible: no readable file shows the path";
        }
        return chain.posted()
                .map(yes -> yes
                        ? chain.postedEvidence()
                                .filter(shown -> shown.kind() == Evidence.Kind.INFERRED)
                                .map(inferred -> "posted (inferred)")
                                .orElse("posted")
                        : "delivered by KVM (not posted: "
                                + first(chain.whyNot().orElse("")) + ")")
                .orElse("free of visible flaws; no file shows whether posted or delivered by KVM");
    }

    /** The first flaw of a link, or what it says without one. */
    private static String first(Link link) {
        return Severity.worst(link).map(Flaw::text).orElseGet(() -> first(link.text()));
    }

    /** The first clause of a sentence. */
    private static String first(String sentence) {
        int end = sentence.indexOf("; ");
        return end < 0 ? sentence : sentence.substring(0, end);
    }

    /** Prints the worst in one line for monitoring, and returns its grade. */
    int graded(HostFacts host, List<InterruptPath> chains, List<InterruptPath> guests, Verdict verdict) {
        if (chains.isEmpty()
                && guests.isEmpty()
                && host.vms().all().isEmpty()
                && host.hidesProcesses().isPresent()) {
            Known.Unknown<Boolean> hidden = host.hidesProcesses().get();
            return Nagios.UNKNOWN.print("no guest is visible; " + hidden.why() + ": " + hidden.remedy(), terminal);
        }

        // No file shows more of the hops behind the VMM, so a hop not shown there is not a failed look.
        List<Link> hidden = chains.stream()
                .filter(chain -> !chain.isIdle())
                .flatMap(chain -> chain.links().stream())
                .filter(link ->
                        link.state() == Link.State.NOT_SHOWN && link.hop().compareTo(Hop.VMM) <= 0)
                .toList();
        boolean unseen = !chains.isEmpty() && chains.stream().allMatch(InterruptPath::isUnseen)
                || hidden.stream().flatMap(link -> link.unseen().stream()).anyMatch(Nagios::isHidden);
        return Nagios.of(verdict.grade(), unseen)
                .print(
                        String.join("; ", headlines(chains, guests, verdict))
                                + (hidden.isEmpty()
                                        ? ""
                                        : hidden.stream()
                                                .map(hiddenLink ->
                                                        hiddenLink.hop().label())
                                                .distinct()
                                                .collect(Collectors.joining(", ", "; not fully checked: ", ""))),
                        terminal);
    }

    /** The chain that fails first; else the first that is in doubt; else the first that is used; else the first. */
    private static InterruptPath firstToFail(List<InterruptPath> chains) {
        return chains.stream()
                .filter(chain -> chain.fails().isPresent())
                .min(Comparator.comparing(chain -> chain.fails().orElseThrow()))
                .or(() -> chains.stream()
                        .filter(chain -> Severity.doubt(chain).isPresent())
                        .min(Comparator.comparing((InterruptPath chain) ->
                                        Severity.of(Severity.doubt(chain).orElseThrow()))
                                .thenComparing(chain ->
                                        Severity.doubt(chain).orElseThrow().hop())))
                .or(() -> chains.stream().filter(chain -> !chain.isIdle()).findFirst())
                .orElse(chains.get(0));
    }

    /** The number of visible links: a chain without a visible link is not whole. */
    private String seen(InterruptPath chain, Verdict verdict) {
        long whole = chain.links().stream()
                .filter(link -> link.state() == Link.State.WHOLE)
                .count();
        // Posting is not counted.
        long all = Hop.all().size()
                - 1
                - Stream.of(Hop.DEVICE, Hop.VMM)
                        .filter(hop -> chain.link(hop).isEmpty())
                        .count();
        Optional<Hop<?>> doubtful = verdict.doubtful();
        if (doubtful.isPresent()) {
            return doubtful(doubtful.get());
        }
        if (chain.isIdle()) {
            return terminal.good("nothing visible is broken; the interrupt is not used");
        }
        if (chain.isUnseen()) {
            return terminal.bold("no link is visible (exit code " + ExitCode.COULD_NOT_RUN + ")");
        }
        return terminal.good((whole == all
                        ? "all " + all + " links are ok"
                        : "nothing visible is broken (" + whole + " of " + all + " links seen)")
                + (chain.isNeverPosted() ? "; the interrupt cannot be posted" : ""));
    }

    private void one(InterruptPath chain) {
        line(terminal.bold(printable(chain.device() + "  " + chain.name()
                + chain.guest().map(name -> "  → " + name).orElse("  → no visible guest"))));
        List<Link> links = chain.links();
        for (int i = 0; i < links.size(); i++) {
            Link link = links.get(i);
            int end = i;
            while (end < links.size() && isHidden(links.get(end)) && isAlike(links.get(end), link)) {
                end++;
            }
            if (end > i + 1) {
                line("  not shown      " + labels(links.subList(i, end)) + ": " + printable(link.text()));
                i = end - 1;
            } else {
                terminal.link(link);
            }
            // Groups links that the same tool would show.
            boolean again = i + 1 < links.size()
                    && link.state() == Link.State.NOT_SHOWN
                    && links.get(i + 1).remedies().equals(link.remedies());
            if (!again) {
                terminal.remedies(link.state() == Link.State.NOT_SHOWN, link.remedies());
            }
        }
        for (Claim claim : chain.claims()) {
            String holds = claim.holds().map(yes -> yes ? "yes" : "no").orElse("not shown");
            terminal.row(claim.question().label(), holds, claim.text(), claim.evidence());
            terminal.remedies(claim.holds().isEmpty(), claim.remedies());
        }
        chain.remarks().forEach(remark -> line("  note: " + printable(remark), NOTE_INDENT));
    }

    private static String labels(List<Link> links) {
        return links.stream().map(link -> link.hop().label()).collect(Collectors.joining(", "));
    }

    private static boolean isAlike(Link link, Link other) {
        return link.text().equals(other.text()) && link.remedies().equals(other.remedies());
    }

    private static boolean isHidden(Link link) {
        return link.state() == Link.State.NOT_SHOWN && link.value().isEmpty();
    }

    /** Prints the paths of a guest or of its helpers, and the sources of its interrupts other than VFIO devices. */
    void print(List<InterruptPath> paths, GuestRows sources) {
        line(terminal.bold(printable(sources.guest() + "  other interrupts")));
        for (InterruptPath path : paths) {
            Link link = path.links().get(0);
            if (path.subject() == Flaw.Subject.GUEST) {
                terminal.link(link);
            } else if (link.state() != Link.State.WHOLE || !link.flaws().isEmpty()) {
                terminal.row("others", link.state().label(), link.text(), link.evidence());
            } else {
                continue;
            }
            terminal.remedies(link.state() == Link.State.NOT_SHOWN, link.remedies());
        }
        for (GuestRows.Row row : sources.rows()) {
            terminal.row(row.name(), row.evidence().isPresent() ? "seen" : "not shown", row.text(), row.evidence());
            terminal.remedies(true, row.remedies());
        }
        Verdict verdict = Verdict.judge(paths, List.of(), List.of());
        verdict.broken()
                .map(hop -> broken(hop, false))
                .or(() -> verdict.doubtful().map(this::doubtful))
                .ifPresent(this::line);
    }

    /** Prints the differences from an earlier capture. */
    void changes(List<Change> changes) {
        line(terminal.bold(
                changes.isEmpty() ? "no path differs from the earlier capture" : "since the earlier capture"));
        Map<Change, List<String>> interrupts = new LinkedHashMap<>();
        changes.forEach(change -> interrupts
                .computeIfAbsent(
                        new Change(
                                Interrupt.all(change.interrupt().device()),
                                change.at(),
                                change.before(),
                                change.after()),
                        first -> new ArrayList<>())
                .add(change.interrupt().name()));
        interrupts.forEach((interrupt, all) -> line(
                "  "
                        + printable(interrupt.interrupt().device() + " " + all.get(0)
                                + (all.size() > 1 ? " and " + (all.size() - 1) + " more" : "") + ", " + interrupt.at()
                                + ": "
                                + interrupt.before().orElse("absent") + " → "
                                + interrupt.after().orElse("absent")),
                NOTE_INDENT));
    }

    /** Prints the fields of kernel memory. */
    void memory(List<MemoryEvidence> all) {
        for (MemoryEvidence evidence : all) {
            line(terminal.bold(printable("kernel memory, " + evidence.interrupt() + ", " + evidence.hostIrq())));
            evidence.why().ifPresent(why -> line("  " + why));
            fields(evidence.fields());
        }
        if (all.isEmpty()) {
            line("kernel memory: VFIO has armed no vector");
        }
    }

    /** Prints fields of kernel memory, a line each. */
    void fields(List<Drift> all) {
        for (Drift field : all) {
            String verdict = field.verdict()
                    + " ".repeat(VERDICT - field.verdict().name().length());
            String text =
                    switch (field.verdict()) {
                        case AGREE -> field.observed();
                        case DIFFER ->
                            field.observed() + ", expected " + field.expected() + "; written by " + field.why();
                        case UNOBSERVABLE -> field.why();
                    };
            line("  " + printable(verdict + field.field() + "  " + text));
        }
    }

    /** Prints consecutive vectors with the same end as one line. */
    private void others(InterruptPath shown, List<InterruptPath> chains) {
        List<InterruptPath> run = new ArrayList<>();
        String endOfRun = "";
        int place = chains.indexOf(shown);
        for (int i = 0; i < chains.size(); i++) {
            InterruptPath chain = chains.get(i);
            String end = i == place ? "" : end(shown, chain);
            boolean ends = i == place
                    || !run.isEmpty()
                            && !(endOfRun.equals(end)
                                    && chain.device().equals(run.get(0).device()));
            if (ends) {
                run(shown, run, endOfRun);
                run.clear();
            }
            if (i != place) {
                run.add(chain);
                endOfRun = end;
            }
        }
        run(shown, run, endOfRun);
    }

    private void run(InterruptPath shown, List<InterruptPath> run, String end) {
        if (run.isEmpty()) {
            return;
        }
        InterruptPath first = run.get(0);
        InterruptPath last = run.get(run.size() - 1);
        String device = first.device().equals(shown.device()) ? "" : first.device() + " ";
        List<Link> links =
                run.stream().flatMap(chain -> chain.link(Hop.HOST_IRQ).stream()).toList();
        String irqs = Stream.concat(
                        Stream.of(ranges(links.stream()
                                .flatMap(link -> link.numbers(Hop.HOST_IRQ).stream())
                                .map(HostIrq::number)
                                .toList())),
                        links.stream()
                                .filter(link -> link.numbers().isEmpty())
                                .flatMap(link -> link.value().stream())
                                .distinct())
                .filter(value -> !value.isEmpty())
                .collect(Collectors.joining(", "));
        line(
                "  also "
                        + printable(device + first.name() + (run.size() > 1 ? " to " + last.name() : "")
                                + (irqs.isEmpty()
                                        ? ""
                                        : (irqs.contains(",") ? " (host irqs " : " (host irq ") + irqs + ")")
                                + ", " + end),
                NOTE_INDENT);
    }

    /** Numbers, with more than {@value #LISTED_NUMBERS} in a row as a range: {@code 27, 30 to 38}. */
    private static String ranges(List<Integer> numbers) {
        List<String> ranges = new ArrayList<>();
        for (int i = 0, end; i < numbers.size(); i = end) {
            end = i + 1;
            while (end < numbers.size() && numbers.get(end) == numbers.get(end - 1) + 1) {
                end++;
            }
            end = end - i > LISTED_NUMBERS ? end : i + 1;
            ranges.add(numbers.get(i) + (end - i > LISTED_NUMBERS ? " to " + numbers.get(end - 1) : ""));
        }
        return String.join(", ", ranges);
    }

    /** The same end as the chain that is shown, or its own. */
    private static String end(InterruptPath shown, InterruptPath chain) {
        if (isSame(shown, chain)) {
            return "with the same result";
        }
        return chain.fails()
                .map(hop -> (hop == Hop.POSTING ? "not posted: " : "broken at the " + hop.label() + ": ")
                        + chain.whyNot().orElse(""))
                .or(() -> chain.firstDoubtful()
                        .map(link -> "in doubt at the " + link.hop().label() + ": " + link.text()))
                .orElse(chain.isIdle() ? "not used" : "without a visible flaw");
    }

    private static boolean isSame(InterruptPath shown, InterruptPath chain) {
        return chain.fails().equals(shown.fails())
                && chain.whyNot().equals(shown.whyNot())
                && (chain.fails().isPresent()
                        || chain.isIdle() == shown.isIdle()
                                && text(chain.firstDoubtful()).equals(text(shown.firstDoubtful())));
    }

    private static Optional<String> text(Optional<Link> link) {
        return link.map(Link::text);
    }

    private void line(String text) {
        line(text, INDENT);
    }

    /** @param indent of continuation lines */
    private void line(String text, int indent) {
        terminal.line(text, indent);
    }

    private static String printable(String text) {
        return Foreign.printable(text);
    }
}
