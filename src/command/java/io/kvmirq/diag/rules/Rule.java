/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Flaw.Span;
import io.kvmirq.path.Flaw.Subject;
import io.kvmirq.path.Flaw.Weight;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Remedy;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A row of the table of rules. Immutable.
 *
 * @param <S> the subject of the facts
 * @param id its stable name, such as {@code host-irq.disabled}
 * @param state of a hop that has the flaw
 * @param reads the facts that it needs; the first one is the evidence
 * @param when the condition, asked if all of these facts are known
 * @param says the sentence of the flaw, a format without a full stop
 * @param values of the format
 * @param remedies the steps that end the flaw
 * @param about the subjects and hosts that it is about, in words; empty for all
 * @param concerns whether it is about a subject, asked before a fact is read
 * @param unless a flaw that suppresses it: that of a row above, up to one that is not suppressed, or any break of the hop
 */
public record Rule<S extends Fact.Subject>(
        String id,
        Flaw.State state,
        Weight weight,
        Span span,
        List<Fact<S, ?>> reads,
        Predicate<S> when,
        String says,
        List<Function<S, ?>> values,
        Function<S, List<Remedy>> remedies,
        String about,
        Predicate<S> concerns,
        Unless unless) {
    /** A flaw that a rule found, with its proof. Immutable. */
    public record Flaw(io.kvmirq.path.Flaw found, State state, Evidence evidence, List<Remedy> remedies) {
        String rule() {
            return found.rule();
        }

        String text() {
            return found.text();
        }

        /** The proof of a flaw. */
        public enum State {
            /** Interrupts do not pass the hop. */
            BROKEN,
            /** They may not: the evidence proves nothing alone. */
            DOUBTFUL,
            /** They pass. */
            NOTE
        }
    }

    /** The flaws that suppress a rule. */
    enum Unless {
        NEVER,
        ABOVE,
        BROKEN
    }

    /**
     * The rules of one subject, in their order.
     *
     * @param about the owner of their flaws
     */
    public record Table<S extends Fact.Subject>(Hop<?> hop, Subject about, List<Rule<S>> rows) {
        @SafeVarargs
        @SuppressWarnings("varargs")
        Table(Hop<?> hop, Subject about, Rule<S>... rows) {
            this(hop, about, List.of(rows));
        }

        @SafeVarargs
        @SuppressWarnings("varargs")
        Table(Hop<?> hop, Rule<S>... rows) {
            this(hop, Subject.at(hop), List.of(rows));
        }

        /** The same rules about another owner. */
        Table<S> about(Subject owner) {
            return new Table<>(hop, owner, rows);
        }
    }

    /** The rules of a check of the doctor, in their order. */
    public record Checks<S extends Fact.Subject>(Check check, List<Rule<S>> rows) {
        @SafeVarargs
        @SuppressWarnings("varargs")
        Checks(Check check, Rule<S>... rows) {
            this(check, List.of(rows));
        }

        /** The result of the rules for a subject. */
        Finding finding(S subject) {
            return new Flaws().apply(subject, rows, Subject.HOST).finding(check);
        }
    }

    /** A flaw that interrupts do not pass. */
    public static <S extends Fact.Subject> Rule<S> broken(
            String id, Fact<S, ?> evidence, Predicate<S> when, String says, Remedy... remedies) {
        return row(id, Flaw.State.BROKEN, evidence, when, says, remedies);
    }

    /** A doubt. */
    public static <S extends Fact.Subject> Rule<S> doubt(
            String id, Fact<S, ?> evidence, Predicate<S> when, String says, Remedy... remedies) {
        return row(id, Flaw.State.DOUBTFUL, evidence, when, says, remedies);
    }

    /** A clause about what is in order. */
    public static <S extends Fact.Subject> Rule<S> note(
            String id, Fact<S, ?> evidence, Predicate<S> when, String says) {
        return row(id, Flaw.State.NOTE, evidence, when, says);
    }

    private static <S extends Fact.Subject> Rule<S> row(
            String id, Flaw.State state, Fact<S, ?> evidence, Predicate<S> when, String says, Remedy... remedies) {
        List<Remedy> all = List.of(remedies);
        Weight weight =
                switch (state) {
                    case BROKEN -> Weight.BROKEN;
                    case DOUBTFUL -> Weight.LOSSY;
                    case NOTE -> Weight.REMARK;
                };
        return new Rule<>(
                id,
                state,
                weight,
                Span.NOW,
                List.of(evidence),
                when,
                says,
                List.of(),
                subject -> all,
                "",
                one -> true,
                Unless.NEVER);
    }

    /** With the values of its sentence. */
    @SafeVarargs
    @SuppressWarnings("varargs")
    public final Rule<S> with(Function<S, ?>... more) {
        return new Rule<>(id, state, weight, span, reads, when, says, List.of(more), remedies, about, concerns, unless);
    }

    /** With another fact that it needs. */
    Rule<S> and(Fact<S, ?> other) {
        List<Fact<S, ?>> all =
                Stream.<Fact<S, ?>>concat(reads.stream(), Stream.of(other)).toList();
        return new Rule<>(id, state, weight, span, all, when, says, values, remedies, about, concerns, unless);
    }

    /** With a remedy that names the subject. */
    Rule<S> remedy(Function<S, Remedy> step) {
        return remedies(one -> List.of(step.apply(one)));
    }

    /** With remedies that name the subject. */
    Rule<S> remedies(Function<S, List<Remedy>> steps) {
        return new Rule<>(id, state, weight, span, reads, when, says, values, steps, about, concerns, unless);
    }

    private Rule<S> unless(Unless other) {
        return new Rule<>(id, state, weight, span, reads, when, says, values, remedies, about, concerns, other);
    }

    /** A flaw that delays interrupts and loses none. */
    Rule<S> slow() {
        return new Rule<>(id, state, Weight.SLOW, span, reads, when, says, values, remedies, about, concerns, unless);
    }

    /** A flaw by counts that never fall: it may be over. */
    Rule<S> ever() {
        return new Rule<>(id, state, weight, Span.EVER, reads, when, says, values, remedies, about, concerns, unless);
    }

    /** Only if no row above it holds. */
    Rule<S> otherwise() {
        return unless(Unless.ABOVE);
    }

    /** Only while the hop is not broken, because one reason is enough. */
    Rule<S> first() {
        return unless(Unless.BROKEN);
    }

    /** Only for some subjects or hosts. */
    Rule<S> on(String those, Predicate<S> such) {
        String words = about.isEmpty() ? those : about + ", " + those;
        return new Rule<>(
                id, state, weight, span, reads, when, says, values, remedies, words, concerns.and(such), unless);
    }

    /** The flaw of a subject that has it. */
    Flaw flaw(S subject, Subject owner) {
        Object[] all = values.stream().map(value -> value.apply(subject)).toArray();
        String text = all.length == 0 ? says : String.format(says, all);
        return new Flaw(
                new io.kvmirq.path.Flaw(id, owner, weight, span, text),
                state,
                subject.evidence(reads.get(0).file()),
                remedies.apply(subject));
    }

    /** Name, state, sentence with … for its values, subjects and files. */
    @Override
    public String toString() {
        boolean past = span == Span.EVER;
        String word =
                weight == Weight.SLOW ? past ? "slowed" : "slow" : state.name().toLowerCase(Locale.ROOT);
        return String.format("%-30s  %-8s  ", id, word)
                + says.replaceAll("%0?\\d?[sdx]", "…").replace("%%", "%")
                + (about.isEmpty() ? "" : " (" + about + ")")
                + reads.stream().map(Fact::file).distinct().collect(Collectors.joining(", /", "; reads /", ""));
    }
}
