/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.path.Flaw;
import io.kvmirq.path.Interrupt;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/**
 * A difference between an interrupt's paths in two captures of a host: the state, value or flaws of a hop, an answer
 * about posting, or the guest. Counts and evidence are not compared. Immutable. Texts may hold names from files.
 *
 * @param at the hop, such as {@code host irq}, the question, or {@code guest}
 * @param before empty if the earlier capture does not have it
 * @param after empty if the later one does not
 */
public record Change(Interrupt interrupt, String at, Optional<String> before, Optional<String> after) {
    /** The differences, in the order of the later paths; paths that only the earlier capture has come last. */
    public static List<Change> between(List<InterruptPath> earlier, List<InterruptPath> later) {
        Map<Interrupt, Map<String, String>> before = facts(earlier);
        Map<Interrupt, Map<String, String>> after = facts(later);
        Set<Interrupt> paths = new LinkedHashSet<>(after.keySet());
        paths.addAll(before.keySet());
        List<Change> changes = new ArrayList<>();
        for (Interrupt path : paths) {
            Map<String, String> was = before.getOrDefault(path, Map.of());
            Map<String, String> is = after.getOrDefault(path, Map.of());
            Set<String> names = new LinkedHashSet<>(is.keySet());
            names.addAll(was.keySet());
            names.removeIf(name -> Objects.equals(was.get(name), is.get(name)));
            names.forEach(name -> changes.add(
                    new Change(path, name, Optional.ofNullable(was.get(name)), Optional.ofNullable(is.get(name)))));
        }
        return changes;
    }

    private static Map<Interrupt, Map<String, String>> facts(List<InterruptPath> chains) {
        Map<Interrupt, Map<String, String>> all = new LinkedHashMap<>();
        for (InterruptPath chain : chains) {
            Map<String, String> facts = new LinkedHashMap<>();
            chain.guest().ifPresent(guest -> facts.put("guest", guest.toString()));
            chain.links().forEach(link -> facts.put(link.hop().label(), fact(link)));
            chain.claims()
                    .forEach(claim -> facts.put(
                            claim.question().label(),
                            claim.holds().map(yes -> yes ? "yes" : "no").orElse("not shown")));
            chain.interrupt().ifPresent(interrupt -> all.put(interrupt, facts));
        }
        return all;
    }

    private static String fact(Link link) {
        return String.join(
                " ",
                Stream.of(
                                Stream.of(link.state().label()),
                                link.value().stream(),
                                link.flaws().stream()
                                        .filter(flaw -> link.isFlawed())
                                        .map(Flaw::rule))
                        .flatMap(words -> words)
                        .toList());
    }
}
