/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Fact.Subject;
import io.kvmirq.diag.Rule.Flaw;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The findings of the checks of one link. A link is whole only if each file that would show a flaw was read. For use by
 * one thread.
 */
final class Flaws {
    private final HostFiles files;
    private final List<String> fine = new ArrayList<>();
    private final List<Flaw> broken = new ArrayList<>();
    private final List<Flaw> doubts = new ArrayList<>();
    private final Set<String> unseen = new LinkedHashSet<>();
    private final Set<String> shownBy = new LinkedHashSet<>();

    Flaws(HostFiles files) {
        this.files = files;
    }

    /** A copy of these findings, to which another interrupt adds its own. */
    Flaws copy() {
        Flaws copy = new Flaws(files);
        copy.fine.addAll(fine);
        copy.broken.addAll(broken);
        copy.doubts.addAll(doubts);
        copy.unseen.addAll(unseen);
        copy.shownBy.addAll(shownBy);
        return copy;
    }

    /** The text of a file that would show a flaw; noted if it cannot be read or is malformed. */
    Optional<String> text(String path, Predicate<String> form) {
        return text(path, true, form);
    }

    /**
     * The text of a file that would show a flaw. Notes a file that may not be read or is malformed, and a missing one.
     *
     * @param exists whether the kernel has such a file here, as other files show it
     */
    Optional<String> text(String path, boolean exists, Predicate<String> form) {
        Optional<String> text = files.text(path).filter(form);
        if (text.isEmpty() && (exists || files.reading(path) != HostFiles.Reading.ABSENT)) {
            absent(path);
        }
        return text;
    }

    /** Notes a file that cannot be read or understood, and why. */
    void absent(String path) {
        unseen(Fact.missing(files, path));
    }

    private void unseen(Known.Unknown<?> fact) {
        unseen(fact.why(), fact.remedy());
    }

    /** Notes a check that was not made. */
    void unseen(String why, String remedy) {
        unseen.add(why);
        shownBy.add(remedy);
    }

    /** Notes a fact without a flaw: a clause. */
    void fine(String text) {
        fine.add(text);
    }

    /** Notes a flaw that interrupts do not pass. */
    void broken(String file, String text, Remedy... remedies) {
        add(new Flaw("", Flaw.State.BROKEN, file, text, List.of(remedies)));
    }

    /** Notes a doubt: evidence that proves nothing alone. */
    void doubt(String file, String text, Remedy... remedies) {
        add(new Flaw("", Flaw.State.DOUBTFUL, file, text, List.of(remedies)));
    }

    /**
     * Notes the flaws of the rules that hold. A rule is not asked if a fact that it needs is not known, and if it fails;
     * both are noted.
     */
    <S extends Subject> Flaws apply(S subject, Rule.Table<S> table) {
        boolean held = false;
        for (Rule<S> rule : table.rows()) {
            held &= rule.alone();
            try {
                if (!held
                        && rule.concerns().test(subject)
                        && rule.reads().stream()
                                .allMatch(fact -> look(subject, fact).isPresent())
                        && rule.when().test(subject)) {
                    held = true;
                    add(rule.flaw(subject));
                }
            } catch (RuntimeException e) {
                unseen("the rule " + rule.id() + ", which failed: " + e, "report it, with a capture of the host");
            }
        }
        return this;
    }

    /** A fact, noted if it is not known. */
    <S extends Subject, T> Optional<T> look(S subject, Fact<S, T> fact) {
        Known<T> known = fact.of(subject);
        if (known instanceof Known.Unknown<T> unknown && !unknown.equals(Fact.none())) {
            unseen(unknown);
        }
        return known.known();
    }

    private void add(Flaw flaw) {
        switch (flaw.state()) {
            case BROKEN -> broken.add(flaw);
            case DOUBTFUL -> doubts.add(flaw);
            case NOTE -> fine.add(flaw.text());
        }
    }

    /** Whether a rule holds. */
    boolean has(String rule) {
        return broken.stream().anyMatch(flaw -> flaw.rule().equals(rule));
    }

    boolean isBroken() {
        return !broken.isEmpty();
    }

    /**
     * The link: its first flaw decides, and others follow in its sentence.
     *
     * @param text one sentence without a full stop; may be empty if looks found something in order
     */
    Link link(Hop hop, Evidence evidence, String value, String text) {
        List<Flaw> flaws = Stream.concat(broken.stream(), doubts.stream()).toList();
        if (!flaws.isEmpty()) {
            return new Link(
                    hop,
                    broken.isEmpty() ? Link.State.DOUBTFUL : Link.State.BROKEN,
                    Optional.of(Evidence.observed("/" + flaws.get(0).file())),
                    Optional.of(value),
                    flaws.stream().map(Flaw::text).distinct().collect(Collectors.joining("; ")),
                    // A doubt may be a consequence of a break.
                    (broken.isEmpty() ? doubts : broken)
                            .stream()
                                    .flatMap(flaw -> flaw.remedies().stream())
                                    .distinct()
                                    .toList(),
                    List.of(),
                    flaws.stream().map(Flaw::rule).distinct().toList());
        }
        String all = Stream.concat(Stream.of(text), fine.stream())
                .filter(part -> !part.isEmpty())
                .collect(Collectors.joining(", "));
        return unseen.isEmpty()
                ? Link.whole(hop, evidence, value, all)
                : new Link(
                        hop,
                        Link.State.NOT_SHOWN,
                        Optional.of(evidence),
                        Optional.of(value),
                        (all.isEmpty() ? "" : all + "; ") + "not looked at: " + String.join("; ", unseen),
                        shownBy.stream().map(Remedy::look).toList());
    }
}
