/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.doubt;

import io.kvmirq.diag.rules.Rule.Table;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import java.util.List;
import java.util.Optional;

/** The comparison of two sources of one hop: files, and a watch. A watch that agrees with files replaces their inference. */
public final class SourceRules {
    /** A hop as files show it, and as a watch saw it. */
    public record Told(Fact.Facts facts, Link shown, Link watched) implements Fact.Subject {
        @Override
        public Evidence evidence(String file) {
            return watched.evidence().orElseThrow();
        }

        private boolean differs() {
            return shown.state() == Link.State.WHOLE
                    && watched.state() == Link.State.WHOLE
                    && !shown.numbers().isEmpty()
                    && !watched.numbers().isEmpty()
                    && !shown.numbers().equals(watched.numbers());
        }

        private static String of(Link link) {
            return link.value().orElse("") + " [" + link.evidence().orElseThrow() + "]";
        }
    }

    private static final Fact<Told, Told> BOTH = Fact.seen("sys/kernel/tracing/instances");
    private static final String SAYS =
            "the files show %s, and the watch saw %s: one of them is of another interrupt, or it"
                    + " changed during the watch";
    private static final Remedy AGAIN = Remedy.look("watch again; if it stays, report it with a capture of the host");

    // spotless:off
    private static Table<Told> table(Hop<?> hop, String name) {
        return new Table<>(hop, doubt(name, BOTH, Told::differs, SAYS, AGAIN)
            .with(one -> Told.of(one.shown), one -> Told.of(one.watched)));
    }
    // spotless:on

    public static final List<Table<Told>> TABLES =
            List.of(table(Hop.EVENTFD, "eventfd.sources-differ"), table(Hop.VCPU, "vcpu.sources-differ"));

    private SourceRules() {}

    /** The link of the watch, in doubt if files show another value. */
    public static Link compared(Fact.Facts facts, Optional<Link> files, Link watched) {
        Optional<Table<Told>> table =
                TABLES.stream().filter(one -> one.hop() == watched.hop()).findFirst();
        return files.flatMap(one -> table.flatMap(rows ->
                        new Flaws().apply(new Told(facts, one, watched), rows).flawed(watched.hop(), watched.value())))
                .map(link -> watched.as(link.state(), link.evidence().orElseThrow(), link.text(), link.remedies())
                        .flawed(link.flaws()))
                .orElse(watched);
    }
}
