/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd;

import io.kvmirq.explorer.Memory;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** The searches of posting on AMD, with their verdicts: every variant in every scenario, with every store seen at once. */
public final class AvicRaces {
    /** The expected verdicts. A column is a scenario in its order. A dot keeps, h heals at the next exit, L loses. */
    private static final String EXPECTED = """
            EMBEDDED_NODE     L L L . . L h h L L L L
            WRAPPERS          L L L . . L h . L L L .
            REFUSE_SECOND_ADD L L L . . L h . L L L .
            TWO_LOCKS         L . L . . L h h L L L L
            NO_MEDIATOR       . . L . . L h . L L L L
            OUTSIDE_LOCK      L . L . . L . h L L L L
            NOTIFY_FIRST      . . . L . L h . L L L L
            CLEAR_LAST        . . . . L L h . L L L L
            UP_TO_6_16        L L L . . . h h L L L .
            TODAY             . . . . . L h . L L L L
            KICK_PREVIOUS     . . . . . L h . . . . .
            """;

    private AvicRaces() {}

    /** The expected verdicts of a variant, by scenario. */
    public static Map<AvicScenario, String> expected(AvicVariant variant) {
        String[] cells = EXPECTED.lines()
                .map(line -> line.split(" +"))
                .filter(line -> line[0].equals(variant.name()))
                .findFirst()
                .orElseThrow();
        Map<AvicScenario, String> expected = new LinkedHashMap<>();
        int column = 1;
        for (AvicScenario scenario : AvicScenario.values()) {
            expected.put(scenario, cells[column++]);
        }
        return expected;
    }

    static String verdict(AvicVariant variant, AvicScenario scenario, Memory memory) {
        return switch (scenario.worst(variant, memory)) {
            case KEEPS -> ".";
            case HEALS -> "h";
            case LOSES -> "L";
        };
    }

    private record Cell(AvicVariant variant, AvicScenario scenario) {}

    /** The verdicts that the searches find, by variant and scenario. Uses all processors. */
    public static Map<AvicVariant, Map<AvicScenario, String>> found() {
        List<Cell> cells = List.of(AvicVariant.values()).stream()
                .flatMap(
                        variant -> List.of(AvicScenario.values()).stream().map(scenario -> new Cell(variant, scenario)))
                .toList();
        Map<Cell, String> verdicts = cells.parallelStream()
                .collect(Collectors.toMap(
                        cell -> cell, cell -> verdict(cell.variant(), cell.scenario(), Memory.SEQUENTIAL)));
        Map<AvicVariant, Map<AvicScenario, String>> found = new LinkedHashMap<>();
        for (Cell cell : cells) {
            found.computeIfAbsent(cell.variant(), variant -> new LinkedHashMap<>())
                    .put(cell.scenario(), verdicts.getOrDefault(cell, ""));
        }
        return found;
    }
}
