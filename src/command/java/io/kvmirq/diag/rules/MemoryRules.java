/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.broken;
import static io.kvmirq.diag.rules.Rule.doubt;

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
                    Drift.of(path).stream().filter(one -> one.hop() == hop).toList());
        }

        @Override
        public Evidence evidence(String file) {
            return Evidence.observed("kernel memory, "
                    + differing().map(Drift::field).findFirst().orElseGet(() -> entry().map(Drift::table)
                            .orElse("")));
        }

        private Optional<RemappingEntry> entry() {
            return path.entry().known().flatMap(one -> one);
        }

        private Stream<Drift> differing() {
            return fields.stream().filter(one -> one.verdict() == Drift.Verdict.DIFFER);
        }

        private boolean drifts() {
            return differing().findAny().isPresent();
        }

        private boolean isAbsent() {
            return entry().filter(one -> !one.isPresent()).isPresent();
        }

        private boolean staysPosted() {
            return path.staysPosted();
        }

        private String text() {
            return differing()
                    .map(one -> one.field() + " is " + one.observed() + ", expected " + one.expected() + " (written by "
                            + one.why() + ")")
                    .collect(Collectors.joining("; "));
        }
    }

    private static final Fact<Seen, Seen> MEMORY = Fact.seen("proc/kcore");
    private static final Remedy AGAIN = Remedy.look(
            "look again; if it stays, let the guest set the interrupt's affinity, which writes the entry again,"
                    + " and report it");

    private static final Remedy FIXED = Remedy.of(
            Remedy.Change.KERNEL,
            "boot a kernel that has the fix b4d37cdb77a0; until then, let the guest's driver disable MSI-X, which frees the"
                    + " entry");

    // spotless:off
    private static Table<Seen> drift(Hop<?> hop, String name) {
        return new Table<>(hop, doubt(name, MEMORY, Seen::drifts, "%s", AGAIN).with(Seen::text));
    }

    private static final Table<Seen> ENTRY = new Table<>(Hop.HOST_IRQ,
        broken("host-irq.entry-absent", MEMORY, Seen::isAbsent,
            "the entry of the IOMMU is not present: it blocks the interrupt", AGAIN),
        doubt("host-irq.entry-stays-posted", MEMORY, Seen::staysPosted,
            "%s: its interrupts go to a vCPU, and not to the eventfd", FIXED).with(Seen::text).otherwise(),
        doubt("host-irq.entry-differs", MEMORY, Seen::drifts, "%s", AGAIN).with(Seen::text).otherwise());
    // spotless:on

    public static final List<Table<Seen>> TABLES =
            List.of(ENTRY, drift(Hop.IRQFD, "irqfd.producer-differs"), drift(Hop.GSI, "gsi.message-differs"));

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
        Link one = flawed.get();
        boolean had = !link.flaws().isEmpty();
        List<Flaw> all = new ArrayList<>(one.flaws());
        all.addAll(link.flaws());
        List<Remedy> remedies = new ArrayList<>(one.remedies());
        if (had) {
            remedies.addAll(link.remedies());
        }
        return link.as(
                        one.state(),
                        one.evidence().orElseThrow(),
                        one.text() + (had ? "; " + link.text() : ""),
                        remedies)
                .flawed(all);
    }
}
