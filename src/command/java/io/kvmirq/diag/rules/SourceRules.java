/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.rule;

import io.kvmirq.diag.rules.Rule.Table;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Link;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * Compares one hop's sources: files, kernel memory, a watch. In this order, a source replaces the one before, and the
 * hop is in doubt if both know its value and differ.
 */
public final class SourceRules {
    /** A hop as one source shows it, and as a better one does. */
    public record Told(Fact.Facts facts, Link first, Link better) implements Fact.Subject {
        @Override
        public Evidence evidence(String file) {
            return better.evidence().orElseThrow();
        }

        private boolean differs() {
            return !first.numbers().isEmpty()
                    && !better.numbers().isEmpty()
                    && Collections.disjoint(first.numbers(), better.numbers());
        }

        private static String of(Link link) {
            return link.value().orElse("")
                    + link.evidence().map(from -> " [" + from + "]").orElse("");
        }
    }

    private static final Fact<Told, Told> BOTH = Fact.seen("sys/kernel/tracing/instances");

    /** For each hop that has a value, {@code <hop>.sources-differ}. */
    public static final List<Table<Told>> TABLES = Hop.all().stream()
            .filter(hop -> hop.type() != Void.class && hop != Hop.POSTING)
            .map(SourceRules::table)
            .toList();

    private SourceRules() {}

    /** A guest vector is whole or not shown, so a doubt about it is one of the vCPU that gets it. */
    private static Table<Told> table(Hop<?> hop) {
        String about = hop == Hop.GUEST_VECTOR ? hop.label() + " " : "";
        return new Table<>(rule(id(hop), BOTH, (Told told) -> told.differs())
                .with(told -> about + Told.of(told.first), told -> about + Told.of(told.better)));
    }

    private static String id(Hop<?> hop) {
        return hop.label().toLowerCase(Locale.ROOT).replace(' ', '-') + ".sources-differ";
    }

    /** Whether two sources differ at the hop of a link. */
    public static boolean isDoubted(Link link) {
        return link.flaws().stream().anyMatch(flaw -> flaw.rule().equals(id(link.hop())));
    }

    /** The doubt about a hop, or about the vCPU, if two sources show other values. */
    public static Optional<Link> difference(Fact.Facts facts, Link first, Link better) {
        return TABLES.stream()
                .filter(table -> table.rows().get(0).id().equals(id(first.hop())))
                .filter(table -> !isDoubted(first))
                .findFirst()
                .flatMap(table ->
                        new Flaws().apply(new Told(facts, first, better), table).flawed(table.hop(), Optional.empty()));
    }

    /** A link with a doubt, which follows a flaw that the link has. */
    public static Link doubted(Link link, Link doubt) {
        boolean had = link.isFlawed();
        Link worst = had ? link : doubt;
        return link.as(
                        worst.state(),
                        worst.evidence().orElseThrow(),
                        (had ? link.text() + "; " : "") + doubt.text(),
                        Stream.concat(worst.remedies().stream(), doubt.remedies().stream())
                                .distinct()
                                .toList())
                .flawed(Stream.concat(worst.flaws().stream(), (had ? doubt : link).flaws().stream())
                        .toList());
    }

    /** A link with a flaw, which a better source shows too: where two sources differ, the third is named. */
    public static Link kept(Link link, Link better) {
        return !isDoubted(link) || better.value().isEmpty()
                ? link
                : link.as(
                        link.state(),
                        link.evidence().orElseThrow(),
                        link.text() + "; another source shows " + Told.of(better),
                        link.remedies());
    }
}
