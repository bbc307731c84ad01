/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.rule;

import io.kvmirq.diag.rules.Rule.Table;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Link;
import java.util.Collections;
import java.util.List;
import java.util.Optional;

/**
 * The comparison of the sources of one hop: files, kernel memory, a watch. In this order, a source replaces the one before
 * if both agree.
 */
public final class SourceRules {
    /** A hop as one source shows it, and as a better one does. */
    public record Told(Fact.Facts facts, Link first, Link better) implements Fact.Subject {
        @Override
        public Evidence evidence(String file) {
            return better.evidence().orElseThrow();
        }

        private boolean differs() {
            return first.state() == Link.State.WHOLE
                    && better.state() == Link.State.WHOLE
                    && !first.numbers().isEmpty()
                    && !better.numbers().isEmpty()
                    && Collections.disjoint(first.numbers(), better.numbers());
        }

        private static String of(Link link) {
            return link.value().orElse("")
                    + link.evidence().map(from -> " [" + from + "]").orElse("");
        }
    }

    private static final Fact<Told, Told> BOTH = Fact.seen("sys/kernel/tracing/instances");

    // spotless:off
    private static Table<Told> table(String name) {
        return new Table<>(rule(name, BOTH, Told::differs).with(one -> Told.of(one.first), one -> Told.of(one.better)));
    }
    // spotless:on

    public static final List<Table<Told>> TABLES = List.of(
            table("eventfd.sources-differ"),
            table("irqfd.sources-differ"),
            table("gsi.sources-differ"),
            table("vcpu.sources-differ"));

    private SourceRules() {}

    private static boolean isDoubted(Link link) {
        return link.flaws().stream().anyMatch(flaw -> TABLES.stream()
                .flatMap(table -> table.rows().stream())
                .anyMatch(rule -> rule.id().equals(flaw.rule())));
    }

    /** The better link, in doubt if the first one has another value. */
    public static Link compared(Fact.Facts facts, Optional<Link> first, Link better) {
        Optional<Link> doubted = first.filter(SourceRules::isDoubted);
        if (doubted.isPresent() && better.value().isPresent()) {
            Link link = doubted.get();
            return link.as(
                    link.state(),
                    link.evidence().orElseThrow(),
                    link.text() + "; a third source shows " + Told.of(better),
                    link.remedies());
        }
        Optional<Table<Told>> table =
                TABLES.stream().filter(one -> one.hop() == better.hop()).findFirst();
        return first.flatMap(one -> table.flatMap(rows ->
                        new Flaws().apply(new Told(facts, one, better), rows).flawed(better.hop(), better.value())))
                .map(link -> better.as(link.state(), link.evidence().orElseThrow(), link.text(), link.remedies())
                        .flawed(link.flaws()))
                .orElse(better);
    }
}
