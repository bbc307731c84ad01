/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.rules.Rule.Flaw;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Flaw.Subject;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The findings of the checks of one link. A link is whole only if each file that would show a flaw was read. For use by
 * one thread.
 */
public final class Flaws {
    private final List<String> fine = new ArrayList<>();
    private final List<Flaw> notes = new ArrayList<>();
    private final List<Flaw> broken = new ArrayList<>();
    private final List<Flaw> doubts = new ArrayList<>();
    /** Delays of the past. */
    private final List<Flaw> past = new ArrayList<>();

    private final Set<String> unseen = new LinkedHashSet<>();
    private final Set<String> shownBy = new LinkedHashSet<>();
    private final Set<Known.Reason> reasons = new TreeSet<>();

    /** A copy of these findings, to which another interrupt adds its own. */
    Flaws copy() {
        Flaws copy = new Flaws();
        copy.fine.addAll(fine);
        copy.broken.addAll(broken);
        copy.doubts.addAll(doubts);
        copy.past.addAll(past);
        copy.unseen.addAll(unseen);
        copy.shownBy.addAll(shownBy);
        copy.reasons.addAll(reasons);
        return copy;
    }

    /** Notes a check that was not made. */
    void unseen(Known.Unknown<?> fact) {
        unseen.add(fact.why());
        shownBy.add(fact.remedy());
        reasons.add(fact.reason());
    }

    /** The checks that were not made, as one fact; none if all were. */
    <T> Known<T> incomplete() {
        return unseen.isEmpty()
                ? Known.none()
                : new Known.Unknown<>(reasons.iterator().next(), String.join("; ", unseen), String.join("; ", shownBy));
    }

    /** Notes a fact without a flaw: a clause. */
    void fine(String text) {
        fine.add(text);
    }

    /**
     * Notes the flaws of the rules that hold. A rule is not asked if a fact that it needs is not known, and if it fails;
     * both are noted.
     */
    public <S extends Fact.Subject> Flaws apply(S subject, Rule.Table<S> table) {
        return apply(subject, table.rows(), table.about());
    }

    /** Applies them, and says whether one holds. */
    <S extends Fact.Subject> boolean finds(S subject, Rule.Table<S> table) {
        int before = broken.size() + doubts.size();
        apply(subject, table);
        return broken.size() + doubts.size() > before;
    }

    /** @param owner of the flaws */
    <S extends Fact.Subject> Flaws apply(S subject, List<Rule<S>> rows, Subject owner) {
        boolean held = false;
        for (Rule<S> rule : rows) {
            held &= rule.unless() == Rule.Unless.ABOVE;
            try {
                if (!held
                        && !(rule.unless() == Rule.Unless.BROKEN && isBroken())
                        && rule.concerns().test(subject)
                        && knows(subject, rule)
                        && rule.when().test(subject)) {
                    held = true;
                    add(rule.flaw(subject, owner));
                }
            } catch (UncheckedIOException e) {
                throw e; // a file that no rule can read
            } catch (RuntimeException e) {
                unseen(new Known.Unknown<>(
                        "the rule " + rule.id() + ", which failed: " + e, "report it, with a capture of the host"));
            }
        }
        return this;
    }

    /** Whether each fact that a rule reads is known. */
    private <S extends Fact.Subject> boolean knows(S subject, Rule<S> rule) {
        for (Fact<S, ?> fact : rule.reads()) {
            if (ask(subject, fact).isEmpty()) {
                return false;
            }
        }
        return true;
    }

    /** A fact, noted if it is not known. */
    public <S extends Fact.Subject, T> Optional<T> ask(S subject, Fact<S, T> fact) {
        Known<T> known = fact.of(subject);
        if (known instanceof Known.Unknown<T> unknown) {
            unseen(unknown);
        }
        return known.known();
    }

    /** Notes a fact that is not known, though no rule asks for it: without it the link is not shown to be whole. */
    <S extends Fact.Subject> void requireSeen(S subject, Fact<S, ?> fact) {
        ask(subject, fact);
    }

    private void add(Flaw flaw) {
        if (flaw.found().isPastDelay()) {
            past.add(flaw);
            fine.add(flaw.text());
            return;
        }
        switch (flaw.state()) {
            case BROKEN -> broken.add(flaw);
            case DOUBTFUL -> doubts.add(flaw);
            case NOTE -> {
                notes.add(flaw);
                fine.add(flaw.text());
            }
        }
    }

    /** Whether a rule holds. */
    boolean has(String rule) {
        return broken.stream().anyMatch(flaw -> flaw.rule().equals(rule));
    }

    /** The flaws that interrupts do not pass. */
    Stream<Flaw> broken() {
        return broken.stream();
    }

    boolean isBroken() {
        return !broken.isEmpty();
    }

    /** Whether a file that would show a flaw of the link was not read. */
    public static boolean isIncomplete(Link link) {
        return link.state() == Link.State.NOT_SHOWN && link.evidence().isPresent();
    }

    /** The link of a subject that has a flaw, without a value. */
    public static <S extends Fact.Subject> Optional<Link> check(S subject, Rule.Table<S> table) {
        return new Flaws().apply(subject, table).flawed(table.hop(), Optional.empty());
    }

    /** The link if it has a flaw: its first flaw decides, and others follow in its sentence. */
    public Optional<Link> flawed(Hop<?> hop, Optional<String> value) {
        List<Flaw> flaws = Stream.concat(broken.stream(), doubts.stream()).toList();
        // A doubt may be a consequence of a break.
        List<Flaw> first = broken.isEmpty() ? doubts : broken;
        return flaws.isEmpty()
                ? Optional.empty()
                : Optional.of(new Link(
                        hop,
                        broken.isEmpty() ? Link.State.DOUBTFUL : Link.State.BROKEN,
                        Optional.of(first.get(0).evidence()),
                        value,
                        flaws.stream().map(Flaw::text).distinct().collect(Collectors.joining("; ")),
                        first.stream()
                                .flatMap(flaw -> flaw.remedies().stream())
                                .distinct()
                                .toList(),
                        List.of(),
                        List.copyOf(reasons),
                        found(Stream.concat(flaws.stream(), past.stream()))));
    }

    private static List<io.kvmirq.path.Flaw> found(Stream<Flaw> flaws) {
        return flaws.map(Flaw::found).distinct().toList();
    }

    /** The finding of a check: its flaws, of which the first names the reason; or what was not looked at; or its notes. */
    Finding finding(Check check) {
        List<Flaw> flaws = Stream.concat(broken.stream(), doubts.stream()).toList();
        if (flaws.isEmpty() && !unseen.isEmpty()) {
            return Finding.unknown(check, "not-shown", String.join("; ", unseen), String.join("; ", shownBy))
                    .with("unseen", List.copyOf(reasons));
        }
        flaws = flaws.isEmpty() ? notes : flaws;
        String rule = flaws.get(0).rule();
        return Finding.of(
                        check,
                        flaws == notes
                                ? Finding.Status.PASS
                                : broken.isEmpty() ? Finding.Status.WARN : Finding.Status.FAIL,
                        rule.substring(rule.indexOf('.') + 1),
                        flaws.stream().map(Flaw::text).collect(Collectors.joining("; ")))
                .with(flaws.stream().flatMap(flaw -> flaw.remedies().stream()).toList());
    }

    /**
     * The link, with its flaws, or with what is in order.
     *
     * @param text one sentence without a full stop; may be empty if looks found something in order
     */
    Link link(Hop<?> hop, Evidence evidence, String value, String text) {
        return flawed(hop, Optional.of(value)).orElseGet(() -> whole(hop, evidence, value, text));
    }

    private Link whole(Hop<?> hop, Evidence evidence, String value, String text) {
        String all = Stream.concat(Stream.of(text), fine.stream())
                .filter(part -> !part.isEmpty())
                .collect(Collectors.joining(", "));
        return seen(evidence, Link.whole(hop, evidence, value, all).flawed(found(past.stream())));
    }

    /** The link if it has a flaw, or else another one, which is not whole if a look was not made. */
    public Link or(Evidence evidence, Link other) {
        return flawed(other.hop(), other.value())
                .map(flawed -> other.as(
                                flawed.state(), flawed.evidence().orElseThrow(), flawed.text(), flawed.remedies())
                        .flawed(flawed.flaws())
                        .unseen(flawed.unseen()))
                .orElseGet(() -> seen(evidence, other));
    }

    private Link seen(Evidence evidence, Link link) {
        return unseen.isEmpty()
                ? link
                : link.as(
                                Link.State.NOT_SHOWN,
                                evidence,
                                (link.text().isEmpty() ? "" : link.text() + "; ") + "not checked: "
                                        + String.join("; ", unseen),
                                Stream.concat(
                                                link.remedies().stream(),
                                                shownBy.stream().map(Remedy::look))
                                        .toList())
                        .unseen(List.copyOf(reasons));
    }
}
