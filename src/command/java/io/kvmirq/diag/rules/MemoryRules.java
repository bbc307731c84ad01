/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.rule;

import io.kvmirq.diag.rules.Rule.Table;
import io.kvmirq.diag.sources.KernelPaths.KernelPath;
import io.kvmirq.host.memory.RemappingEntry;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Rules about what kernel memory has for an interrupt, and what it must have. */
public final class MemoryRules {
    /** A hop of a host irq in kernel memory. */
    public record Seen(Fact.Facts facts, Hop<?> hop, KernelPath path, List<Drift> fields) implements Fact.Subject {
        public Seen(Fact.Facts facts, Hop<?> hop, KernelPath path) {
            this(
                    facts,
                    hop,
                    path,
                    Drift.find(path).stream()
                            .filter(drift -> drift.hop() == hop)
                            .toList());
        }

        @Override
        public Evidence evidence(String file) {
            return Evidence.observed("kernel memory, "
                    + differing().map(Drift::field).findFirst().orElseGet(() -> entry().map(Drift::table)
                            .orElse("")));
        }

        private Optional<RemappingEntry> entry() {
            return path.entry().known().flatMap(entry -> entry);
        }

        private Stream<Drift> differing() {
            return fields.stream().filter(field -> field.verdict() == Drift.Verdict.DIFFER);
        }

        private boolean drifts() {
            return differing().findAny().isPresent();
        }

        private boolean isAbsent() {
            return entry().filter(entry -> !entry.isPresent()).isPresent();
        }

        private boolean staysPosted() {
            return path.staysPosted();
        }

        private String text() {
            return differing()
                    .map(drift -> drift.field() + " is " + drift.observed() + ", expected " + drift.expected()
                            + " (written by " + drift.why() + ")")
                    .collect(Collectors.joining("; "));
        }
    }

    private static final Fact<Seen, Seen> MEMORY = Fact.seen("proc/kcore");
    // spotless:off
    private static Table<Seen> drift(String name) {
        return new Table<>(rule(name, MEMORY, Seen::drifts).with(Seen::text));
    }

    private static final Table<Seen> ENTRY = new Table<>(
        rule("host-irq.entry-absent", MEMORY, Seen::isAbsent),
        rule("host-irq.entry-stays-posted", MEMORY, Seen::staysPosted).with(Seen::text).otherwise(),
        rule("host-irq.entry-differs", MEMORY, Seen::drifts).with(Seen::text).otherwise());
    // spotless:on

    public static final List<Table<Seen>> TABLES =
            List.of(ENTRY, drift("irqfd.producer-differs"), drift("gsi.message-differs"));

    private MemoryRules() {}

    /** The link with the flaws that kernel memory adds to it. One that has others keeps them. */
    public static Link flawed(Fact.Facts facts, KernelPath path, Link link) {
        Seen seen = new Seen(facts, link.hop(), path);
        Flaws flaws = new Flaws();
        TABLES.stream().filter(table -> table.hop() == link.hop()).forEach(table -> flaws.apply(seen, table));
        Optional<Link> flawed = flaws.flawed(link.hop(), link.value());
        if (flawed.isEmpty() || link.state() == Link.State.BROKEN) {
            return link;
        }
        Link observed = flawed.get();
        boolean had = !link.flaws().isEmpty();
        List<Flaw> all = new ArrayList<>(observed.flaws());
        all.addAll(link.flaws());
        List<Remedy> remedies = new ArrayList<>(observed.remedies());
        if (had) {
            remedies.addAll(link.remedies());
        }
        return link.as(
                        observed.state(),
                        observed.evidence().orElseThrow(),
                        observed.text() + (had ? "; " + link.text() : ""),
                        remedies)
                .flawed(all);
    }
}
