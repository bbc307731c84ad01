/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import java.util.EnumMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/** What has been called, and what came of it on the real kernel. */
final class Coverage {
    private final Map<Operation, Map<String, Long>> outcomes = new EnumMap<>(Operation.class);
    private long calls;

    void count(Operation operation, Answer answer) {
        calls++;
        outcomes.computeIfAbsent(operation, none -> new TreeMap<>()).merge(answer.outcome(), 1L, Long::sum);
    }

    long calls() {
        return calls;
    }

    /** Of all calls, in percent. */
    double share(Operation operation) {
        return 100.0 * total(operation) / Math.max(1, calls);
    }

    private long total(Operation operation) {
        return outcomes.getOrDefault(operation, Map.of()).values().stream()
                .mapToLong(Long::longValue)
                .sum();
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
        return "%-16s %5.1f %%:  %s".formatted(operation, share(operation), cells);
    }
}
