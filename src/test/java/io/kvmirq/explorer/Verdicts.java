/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;

/**
 * The searches of every variant in every scenario, with the expected verdicts. A verdict has one letter for each memory
 * model: a dot keeps, h heals at the next exit of a guest, L loses. An equals sign is not searched: as ours.
 *
 * @param <V> the variants
 * @param <S> the scenarios
 */
public final class Verdicts<V extends Enum<V> & Variant<S>, S extends Enum<S> & Scenario<V>> {
    private static final String AS_OURS = "=";
    /** The letters of endings, the worst last. */
    private static final String ENDINGS = ".hL";

    private final List<Memory> memories;
    private final V ours;
    private final List<V> variants;
    private final List<S> scenarios;
    private final Map<V, Map<S, String>> expected = new LinkedHashMap<>();

    /**
     * A table.
     *
     * @param memories {@link Memory#SEQUENTIAL} first
     * @param expected a line for each variant: its name, then a verdict for each scenario in its order
     */
    public Verdicts(List<Memory> memories, V ours, Class<S> scenarios, String expected) {
        this.memories = List.copyOf(memories);
        this.ours = ours;
        this.variants = List.of(ours.getDeclaringClass().getEnumConstants());
        this.scenarios = List.of(scenarios.getEnumConstants());
        for (String line : expected.strip().split("\n")) {
            String[] cells = line.strip().split(" +");
            Map<S, String> row = new LinkedHashMap<>();
            for (int i = 0; i < this.scenarios.size(); i++) {
                row.put(this.scenarios.get(i), cells[i + 1]);
            }
            this.expected.put(Enum.valueOf(ours.getDeclaringClass(), cells[0]), row);
        }
    }

    /** The expected verdicts of a variant. */
    public Map<S, String> expected(V variant) {
        return Objects.requireNonNull(expected.get(variant), variant::name);
    }

    /** The verdict that the searches find. What is kept with store buffers is kept in order. */
    public String verdict(V variant, S scenario) {
        String verdict = "";
        for (int i = memories.size() - 1; i >= 0; i--) {
            boolean kept = verdict.startsWith(".");
            verdict = (kept ? "." : letter(scenario.worst(variant, memories.get(i)))) + verdict;
        }
        return verdict;
    }

    /** The letter of an end. */
    public static String letter(Explorer.Ending ending) {
        return switch (ending) {
            case KEEPS -> ".";
            case HEALS -> "h";
            case LOSES -> "L";
        };
    }

    /** A search of the table. */
    private record Cell<V, S>(V variant, S scenario) {}

    /**
     * The verdicts that the searches find, by variant and scenario. A variant is searched where it differs from ours;
     * elsewhere the verdict is "=", as ours. Uses all processors.
     */
    public Map<V, Map<S, String>> found() {
        List<Cell<V, S>> cells = variants.stream()
                .flatMap(variant -> scenarios.stream().map(scenario -> new Cell<>(variant, scenario)))
                .toList();
        Map<Cell<V, S>, String> verdicts = cells.parallelStream()
                .filter(cell -> isSearched(cell.variant(), cell.scenario()))
                .collect(Collectors.toMap(cell -> cell, cell -> verdict(cell.variant(), cell.scenario())));
        Map<V, Map<S, String>> found = new LinkedHashMap<>();
        for (Cell<V, S> cell : cells) {
            found.computeIfAbsent(cell.variant(), variant -> new LinkedHashMap<>())
                    .put(cell.scenario(), verdicts.getOrDefault(cell, AS_OURS.repeat(memories.size())));
        }
        return found;
    }

    private boolean isSearched(V variant, S scenario) {
        return variant == ours || variant.concerns(scenario);
    }

    /** How many searches the table has. */
    public int searches() {
        long cells = variants.stream()
                .mapToLong(variant -> scenarios.stream()
                        .filter(scenario -> isSearched(variant, scenario))
                        .count())
                .sum();
        return Math.toIntExact(memories.size() * cells);
    }

    /** Whether no order loses, and none waits. */
    private static boolean isKept(String verdict) {
        return verdict.chars().allMatch(letter -> letter == '.');
    }

    /** @return the first scenario in which ours ends worse than expected, or what it throws there; empty if in none */
    public String loss() {
        for (S scenario : scenarios) {
            try {
                String verdict = verdict(ours, scenario);
                if (isWorse(verdict, Objects.requireNonNull(expected(ours).get(scenario)))) {
                    return verdict + " in " + scenario;
                }
            } catch (IllegalStateException | IllegalArgumentException | StackOverflowError e) {
                return e + " in " + scenario;
            }
        }
        return "";
    }

    /** Whether an ending is worse in one of the memory models. */
    private static boolean isWorse(String verdict, String expected) {
        for (int i = 0; i < verdict.length(); i++) {
            if (ENDINGS.indexOf(verdict.charAt(i)) > ENDINGS.indexOf(expected.charAt(i))) {
                return true;
            }
        }
        return false;
    }

    /** A table for people: the scenarios with numbers, and the letters of each variant. */
    public record Printed(String text, int unexpected) {}

    /** Searches all, and says where a verdict is not as expected. */
    public Printed print() {
        StringBuilder text = new StringBuilder();
        StringBuilder head = new StringBuilder(" ");
        for (S scenario : scenarios) {
            text.append(String.format("  %2d  %s%n", number(scenario), scenario.text()));
            head.append(String.format(" %" + Math.max(2, memories.size()) + "d", number(scenario)));
        }
        text.append('\n').append(head).append('\n');
        int unexpected = 0;
        String gap = memories.size() == 1 ? "  " : " ";
        Map<V, Map<S, String>> found = found();
        for (Map.Entry<V, Map<S, String>> row : found.entrySet()) {
            text.append("  ").append(gap.substring(1));
            text.append(String.join(gap, row.getValue().values())).append("  ");
            text.append(row.getKey().text()).append('\n');
            for (Map.Entry<S, String> cell : expected(row.getKey()).entrySet()) {
                V searched = isSearched(row.getKey(), cell.getKey()) ? row.getKey() : ours;
                if (!cell.getValue()
                        .equals(found.getOrDefault(searched, Map.of()).get(cell.getKey()))) {
                    text.append(
                            String.format("    NOT AS EXPECTED: %s in %d%n", cell.getValue(), number(cell.getKey())));
                    unexpected++;
                }
            }
        }
        return new Printed(text.toString(), unexpected);
    }

    private int number(S scenario) {
        return scenarios.indexOf(scenario) + 1;
    }

    /**
     * The shortest order that loses or waits: of each variant in the first scenario in which one is expected, of ours
     * in each. Uses all processors.
     */
    public String shortestOrders() {
        List<Cell<V, S>> told = new ArrayList<>();
        for (V variant : variants) {
            expected(variant).entrySet().stream()
                    .filter(cell -> !isKept(cell.getValue()))
                    .limit(variant == ours ? scenarios.size() : 1)
                    .forEach(cell -> told.add(new Cell<>(variant, cell.getKey())));
        }
        return told.parallelStream()
                .map(cell -> shortest(cell.variant(), cell.scenario()))
                .collect(Collectors.joining());
    }

    /** The number of orders of a search, and the shortest one that loses or waits, if there is one. */
    public String shortest(V variant, S scenario) {
        String letters = Objects.requireNonNull(expected(variant).get(scenario));
        Memory memory = memories.get(letters.startsWith(".") ? memories.size() - 1 : 0);
        Exploration found = scenario.explore(variant, memory);
        StringBuilder text = new StringBuilder(String.format(
                "%n  %s%n    %s%s%n    %,d states, %,d orders, %,d losing%n",
                variant.text(),
                scenario.text(),
                memories.size() == 1 ? "" : memory == Memory.SEQUENTIAL ? ", in order" : ", store buffers",
                found.states(),
                found.orders(),
                found.losing()));
        for (Exploration.Step step : found.order()) {
            if (!step.what().isEmpty()) {
                text.append(String.format("        %-10s %-18s %s%n", step.actor(), step.operation(), step.what()));
            }
        }
        return found.loses()
                ? text.append("        ").append(found.why()).append('\n').toString()
                : text.toString();
    }
}
