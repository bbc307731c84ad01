/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.diag.rules.Fact;
import io.kvmirq.diag.rules.SourceRules;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/** A source of an interrupt's path: host files, kernel memory, tracepoints or probes. */
interface PathSource {
    /**
     * The links that it shows, at most one for each hop. {@link Shown} makes those of hops whose values it knows.
     *
     * @param before the path as the sources before this one show it
     */
    List<Link> links(InterruptPath before);

    /** Whether it saw interrupts pass its links, which refutes flaws of the sources before it. */
    default boolean isWatch() {
        return false;
    }

    /** The path with the links of some sources, the weakest evidence first. */
    static InterruptPath merge(HostFacts host, InterruptPath path, List<PathSource> sources) {
        Fact.Facts facts = new Fact.Facts(host);
        Map<Hop<?>, Link> known = new TreeMap<>();
        InterruptPath merged = path;
        for (PathSource source : sources) {
            // A better source may replace a value by none, as a tracepoint that does not name the GSI.
            merged.links().stream()
                    .filter(link -> !link.numbers().isEmpty())
                    .forEach(link -> known.put(link.hop(), link));
            merged = merge(facts, merged, source, known);
        }
        return merged;
    }

    private static InterruptPath merge(
            Fact.Facts facts, InterruptPath path, PathSource source, Map<Hop<?>, Link> known) {
        Map<Hop<?>, Link> links = new TreeMap<>();
        path.links().forEach(link -> links.put(link.hop(), link));
        List<Link> doubts = new ArrayList<>();
        for (Link link : source.links(path)) {
            Optional.ofNullable(known.get(link.hop()))
                    .flatMap(before -> SourceRules.difference(facts, before, link))
                    .ifPresent(doubts::add);
            links.merge(link.hop(), link, (before, better) -> better(before, better, source.isWatch()));
        }
        // Two sources may differ at the guest vector, of which the vCPU is in doubt.
        doubts.forEach(doubt -> links.merge(doubt.hop(), doubt, SourceRules::doubted));
        return path.with(whole(path, links.values()), path.claims(), path.remarks());
    }

    /** A flaw outlives a better source that shows the same hop and not its flaw. So do delays of the past. */
    private static Link better(Link before, Link better, boolean isWatch) {
        boolean isBreak = better.state() == Link.State.BROKEN && before.state() != Link.State.BROKEN;
        boolean isRefuted = isWatch && better.state() == Link.State.WHOLE && !SourceRules.isDoubted(before);
        if (before.isFlawed() && !isBreak && !isRefuted) {
            return SourceRules.kept(before, better);
        }
        List<Flaw> past = before.flaws().stream().filter(Flaw::isPastDelay).toList();
        return better.flawed(
                Stream.concat(better.flaws().stream(), past.stream()).distinct().toList());
    }

    /** The path with the flaws that rules add to its links. */
    static InterruptPath judge(InterruptPath path, UnaryOperator<Link> rules) {
        return path.with(whole(path, path.links().stream().map(rules).toList()), path.claims(), path.remarks());
    }

    /** The links as far as interrupts pass them: a break ends the path, but what files show behind their break stays. */
    private static List<Link> whole(InterruptPath before, Collection<Link> links) {
        List<Link> all = new ArrayList<>();
        for (Link link : links) {
            all.add(link);
            Optional<Link> earlier = before.link(link.hop());
            if (link.state() == Link.State.BROKEN
                    && !before.links().isEmpty()
                    && earlier.filter(had -> had.state() == Link.State.BROKEN).isEmpty()) {
                break;
            }
        }
        return all;
    }
}
