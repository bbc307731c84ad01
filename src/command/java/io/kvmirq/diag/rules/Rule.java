/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.rules.Rows.Row;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Flaw.Span;
import io.kvmirq.path.Flaw.Subject;
import io.kvmirq.path.Flaw.Weight;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Remedy;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A rule: the row with its id in {@code rules.txt}, with the condition and the values. Immutable.
 *
 * @param <S> the subject of the facts
 * @param reads the facts that it needs, from the files of the row; the first one is the evidence
 * @param when the condition, asked if all of these facts are known
 * @param values of the sentence
 * @param fills the values of the row's remedies
 * @param count of a flaw that may be over: it is of now if the count changes between two looks
 * @param choice the remedies of a row whose remedies are by case
 * @param about the subjects and hosts that it is about, in words; empty for all
 * @param concerns whether it is about a subject, asked before a fact is read
 * @param unless a flaw that suppresses it: that of a row above, up to one that is not suppressed, or any break of the hop
 */
public record Rule<S extends Fact.Subject>(
        Row row,
        List<Fact<S, ?>> reads,
        Predicate<S> when,
        List<Function<S, ?>> values,
        List<Function<S, ?>> fills,
        Optional<Function<S, Map.Entry<String, ?>>> count,
        Optional<Function<S, List<Remedy>>> choice,
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
     * The rules of one subject at one hop, in their order.
     *
     * @param about the owner of their flaws
     */
    public record Table<S extends Fact.Subject>(Hop<?> hop, Subject about, List<Rule<S>> rows) {
        @SafeVarargs
        @SuppressWarnings("varargs")
        Table(Rule<S>... rows) {
            this(hop(place(List.of(rows))), rows[0].row.subject(), List.of(rows));
        }

        private static Hop<?> hop(String label) {
            return Hop.all().stream()
                    .filter(hop -> hop.label().equals(label))
                    .findFirst()
                    .orElseThrow(() -> new IllegalArgumentException("\"" + label + "\" is not one of " + Hop.all()));
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
        Checks(Rule<S>... rows) {
            this(List.of(rows));
        }

        Checks(List<Rule<S>> rows) {
            this(Check.parse(place(rows)), rows);
        }

        /** The result of the rules for a subject. */
        Finding finding(S subject) {
            return new Flaws().apply(subject, rows, Subject.HOST).finding(check);
        }
    }

    /** The one place of some rules. Their rows name the files that their facts are from. */
    private static <S extends Fact.Subject> String place(List<Rule<S>> rows) {
        String place = rows.get(0).row.place();
        for (Rule<S> rule : rows) {
            List<String> read = rule.reads.stream()
                    .map(fact -> "/" + fact.file())
                    .distinct()
                    .toList();
            if (rule.row.byCase() != rule.choice.isPresent()) {
                throw new IllegalArgumentException("the remedy of " + rule.id() + " is "
                        + (rule.row.byCase()
                                ? "by case, and the rule chooses none"
                                : "in its row, and the rule chooses one"));
            }
            if (!rule.row.place().equals(place) || !rule.row.files().equals(read)) {
                throw new IllegalArgumentException("the row of " + rule.id() + " is of " + rule.row.place()
                        + " and reads " + rule.row.files() + ", but the rule is of " + place + " and reads " + read);
            }
        }
        return place;
    }

    /** The rule with a name, whose first fact is the evidence. */
    static <S extends Fact.Subject> Rule<S> rule(String id, Fact<S, ?> evidence, Predicate<S> when) {
        return of(Rows.SHIPPED.row(id), evidence, when);
    }

    static <S extends Fact.Subject> Rule<S> of(Row row, Fact<S, ?> evidence, Predicate<S> when) {
        return new Rule<>(
                row,
                List.of(evidence),
                when,
                List.of(),
                List.of(),
                Optional.empty(),
                Optional.empty(),
                "",
                subject -> true,
                Unless.NEVER);
    }

    /** With the values of its sentence. */
    @SafeVarargs
    @SuppressWarnings("varargs")
    public final Rule<S> with(Function<S, ?>... more) {
        return new Rule<>(row, reads, when, List.of(more), fills, count, choice, about, concerns, unless);
    }

    /** With the values of its remedies. */
    @SafeVarargs
    @SuppressWarnings("varargs")
    final Rule<S> fill(Function<S, ?>... more) {
        return new Rule<>(row, reads, when, values, List.of(more), count, choice, about, concerns, unless);
    }

    /** With the count of a flaw that may be over. */
    Rule<S> counting(Function<S, ?> number) {
        return counting(subject -> "", number);
    }

    /** With such a count of each name, of which a file has several. */
    Rule<S> counting(Function<S, String> name, Function<S, ?> number) {
        return new Rule<>(
                row,
                reads,
                when,
                values,
                fills,
                Optional.of(subject -> Map.entry(name.apply(subject), number.apply(subject))),
                choice,
                about,
                concerns,
                unless);
    }

    /** With another fact that it needs. */
    Rule<S> and(Fact<S, ?> other) {
        List<Fact<S, ?>> all =
                Stream.<Fact<S, ?>>concat(reads.stream(), Stream.of(other)).toList();
        return new Rule<>(row, all, when, values, fills, count, choice, about, concerns, unless);
    }

    /** With a remedy by case. */
    Rule<S> remedy(Function<S, Remedy> step) {
        return remedies(subject -> List.of(step.apply(subject)));
    }

    /** With remedies by case. */
    Rule<S> remedies(Function<S, List<Remedy>> steps) {
        return new Rule<>(row, reads, when, values, fills, count, Optional.of(steps), about, concerns, unless);
    }

    private Rule<S> unless(Unless other) {
        return new Rule<>(row, reads, when, values, fills, count, choice, about, concerns, other);
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
    Rule<S> on(String subjects, Predicate<S> condition) {
        String words = about.isEmpty() ? subjects : about + ", " + subjects;
        return new Rule<>(row, reads, when, values, fills, count, choice, words, concerns.and(condition), unless);
    }

    /** The stable name, such as {@code host-irq.disabled}. */
    public String id() {
        return row.id();
    }

    /** The state of a hop that has the flaw. */
    public Flaw.State state() {
        return switch (row.weight()) {
            case BROKEN -> Flaw.State.BROKEN;
            case LOSSY, SLOW -> Flaw.State.DOUBTFUL;
            case REMARK -> Flaw.State.NOTE;
        };
    }

    private static <S> String filled(String format, List<Function<S, ?>> values, S subject) {
        return values.isEmpty()
                ? format
                : String.format(
                        format,
                        values.stream().map(value -> value.apply(subject)).toArray());
    }

    private List<Remedy> remedies(S subject) {
        return choice.isPresent()
                ? choice.get().apply(subject)
                : row.remedies().stream()
                        .map(remedy -> new Remedy(
                                remedy.change(),
                                quoted(filled(remedy.text(), fills, subject)),
                                remedy.takes(),
                                remedy.risk()))
                        .toList();
    }

    private Span span(S subject) {
        return count.map(counted -> counted.apply(subject))
                        .filter(counted -> subject.host()
                                .hasChanged(
                                        id() + " " + subject.path(reads.get(0).file()) + counted.getKey(),
                                        counted.getValue()))
                        .isPresent()
                ? Span.NOW
                : row.span();
    }

    /** With quotes around paths that a shell would change, as the names of systemd's units with a backslash. */
    private static String quoted(String text) {
        return text.replaceAll("/[^\\s']*\\\\[^\\s',;]*", "'$0'");
    }

    /** The flaw of a subject that has it. */
    Flaw flaw(S subject, Subject owner) {
        return new Flaw(
                new io.kvmirq.path.Flaw(id(), owner, row.weight(), span(subject), filled(row.says(), values, subject)),
                state(),
                subject.evidence(reads.get(0).file()),
                remedies(subject));
    }

    /** Name, state, sentence with … for its values, subjects, files and remedies. */
    @Override
    public String toString() {
        boolean past = row.span() == Span.EVER;
        String word = row.weight() == Weight.SLOW
                ? past ? "slowed" : "slow"
                : state().name().toLowerCase(Locale.ROOT);
        return String.format("%-30s  %-8s  ", id(), word)
                + blank(row.says())
                + (about.isEmpty() ? "" : " (" + about + ")")
                + "; reads "
                + String.join(", ", row.files())
                + (row.byCase() ? "; by case" : "")
                + row.remedies().stream()
                        .map(remedy -> "; " + remedy.change().label() + ": " + blank(remedy.text()) + remedy.cost())
                        .collect(Collectors.joining());
    }

    private static String blank(String format) {
        return format.replaceAll("%(\\d\\$)?0?\\d?[sdx]", "…").replace("%%", "%");
    }
}
