/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The calls that were made, and their outcomes on the real kernel. */
final class Coverage {
    /** One in so many calls, and in so many calls of an operation. */
    private static final long LEAST = 400;

    private static final long LEAST_OUTCOME = 400;

    private final Map<Operation, Map<String, Long>> outcomes = new EnumMap<>(Operation.class);
    private final Map<Operation, Long> unknown = new EnumMap<>(Operation.class);
    private long calls;
    private long ended;

    /** The fake does not model it; whether the sequence ends there. */
    void countNotModelled(Operation operation, boolean ends) {
        unknown.merge(operation, 1L, Long::sum);
        ended += ends ? 1 : 0;
    }

    /** Sequences that ended at a call which is not modelled. */
    long ended() {
        return ended;
    }

    long notModelled() {
        return unknown.values().stream().mapToLong(Long::longValue).sum();
    }

    long count(Operation operation) {
        return total(operation);
    }

    void count(Operation operation, Answer answer) {
        calls++;
        outcomes.computeIfAbsent(operation, none -> new TreeMap<>()).merge(operation.outcome(answer), 1L, Long::sum);
    }

    long count(Operation operation, String outcome) {
        return outcomes.getOrDefault(operation, Map.of()).getOrDefault(outcome, 0L);
    }

    long calls() {
        return calls;
    }

    /** Share of all calls, in percent. */
    private double share(Operation operation) {
        return 100.0 * total(operation) / Math.max(1, calls);
    }

    private long total(Operation operation) {
        return outcomes.getOrDefault(operation, Map.of()).values().stream()
                .mapToLong(Long::longValue)
                .sum();
    }

    /** Operations with less than 1/4 % of the calls, and outcomes with less than 1/4 % of their operation's calls. */
    List<String> rare() {
        return Arrays.stream(Operation.values())
                .filter(operation -> operation.isSearched() && !operation.isVfio())
                .flatMap(this::rare)
                .toList();
    }

    private Stream<String> rare(Operation operation) {
        Map<String, Long> counts = outcomes.getOrDefault(operation, Map.of());
        long total = total(operation);
        return total * LEAST < calls
                ? Stream.of(operation.name())
                : counts.entrySet().stream()
                        .filter(cell -> cell.getValue() * LEAST_OUTCOME < total)
                        .map(cell -> operation + " " + cell.getKey());
    }

    /** Operation by operation: its share of the calls, then how often it came to what. */
    @Override
    public String toString() {
        return outcomes.entrySet().stream()
                .map(entry -> row(entry.getKey(), entry.getValue()))
                .collect(Collectors.joining("\n"));
    }

    private String row(Operation operation, Map<String, Long> counts) {
        long total = total(operation);
        String cells = counts.entrySet().stream()
                .map(cell -> "%s %.1f".formatted(cell.getKey(), 100.0 * cell.getValue() / total))
                .collect(Collectors.joining("  "));
        long left = unknown.getOrDefault(operation, 0L);
        String more = left == 0 ? "" : "  (and %d not modelled)".formatted(left);
        return "%-16s %5.1f %%:  %s%s".formatted(operation, share(operation), cells, more);
    }
}
