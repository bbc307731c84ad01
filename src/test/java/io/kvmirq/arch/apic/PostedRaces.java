/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.explorer.Explorer.Ending;
import io.kvmirq.explorer.Memory;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * The searches of posting on VT-d and VMX, with their verdicts: every variant in every scenario, without and with store
 * buffers.
 */
public final class PostedRaces {
    /** The expected verdicts. A column is a scenario in its order; {@link Verdict} says what the two letters mean. */
    private static final String EXPECTED = """
            ON_ONLY               LL LL LL LL .. LL LL LL LL LL LL LL LL ..
            PIR_ONLY              .. hh hh .. hh hh hh .. hh hh .. .. .. ..
            PIR_OR_ON             .. .. .. .. .. .. .. .. .. .. .. .. .. ..
            ON_SN_STORE           .. .. .. .. .. .. .. .. .. .. .. .. .. ..
            ON_SN_STORE_AS_QUOTED LL LL LL LL LL LL LL LL LL LL LL LL LL ..
            CHECK_THEN_CLEAR      LL LL LL LL .. LL LL LL LL LL .. LL LL ..
            TODAY                 .. .. .. .. .. .. .. .. .. .. .. .. .. ..
            WITH_BARRIERS         .. .. .. .. .. .. .. .. .. .. .. .. .. ..
            TEST_FIRST            .. .. .. .. .. .. .. .. .. .. .. .. .. .L
            PLAIN_PIR             .. LL LL .. LL LL LL .. LL LL .. LL .. .L
            ON_BEFORE_PIR         .. LL LL .. LL LL LL .. LL LL .. .. .. LL
            HARVEST_FIRST         .. LL LL LL LL LL LL .. LL LL LL LL LL ..
            PLAIN_PUT             .. .. .. .. .. .. .. .. .. .. .. .. .. ..
            PLAIN_ON              .. LL LL .. hh LL LL .. LL LL .. .. .. ..
            PLAIN_CLEAR_ON        .. .L .L .L .L .L .L .. .L .L .L .. .. ..
            PLAIN_CLEAR_SN        .L .L .L .L LL .L LL .L .L .L .. .L .L ..
            NO_MODE_BARRIER       .. .h .h .. .h .h .h .. .h .h .. .. .. ..
            NO_INVALIDATION       .. .. .. .. .. .. .. .. .. .. .. .. LL ..
            TORN_ENTRY            .. .. .. .. .. .. .. .. .. .. .. .. LL ..
            PENDING_BY_ON         .. .. .. .. .. .. .. .. .. .. LL .. .. ..
            NO_UNBLOCK            .. .. .. .. .. .. LL .. .. .. .. .. .. ..
            PLAIN_SLEEP           .. .. .. .. .L .. .. .. .. .. .. .. .. ..
            """;

    private PostedRaces() {}

    /**
     * The worst ends of two searches.
     *
     * @param inOrder if every store is seen at once
     * @param buffered with store buffers
     */
    public record Verdict(Ending inOrder, Ending buffered) {
        /** What is kept with store buffers is kept in order: each order there is one that never holds a store back. */
        static Verdict of(Variant variant, Scenario scenario) {
            Ending buffered = scenario.worst(variant, Memory.STORE_BUFFERS);
            return new Verdict(
                    buffered == Ending.KEEPS ? buffered : scenario.worst(variant, Memory.SEQUENTIAL), buffered);
        }

        /** Two letters: in order, with store buffers. A dot keeps, h heals at the next exit, L loses. */
        @Override
        public String toString() {
            return letter(inOrder) + letter(buffered);
        }

        private static String letter(Ending ending) {
            return switch (ending) {
                case KEEPS -> ".";
                case HEALS -> "h";
                case LOSES -> "L";
            };
        }
    }

    /** The expected verdicts of a variant, as {@link Verdict} writes them, by scenario. */
    public static Map<Scenario, String> expected(Variant variant) {
        String[] cells = EXPECTED.lines()
                .map(line -> line.split(" +"))
                .filter(line -> line[0].equals(variant.name()))
                .findFirst()
                .orElseThrow();
        Map<Scenario, String> expected = new LinkedHashMap<>();
        int cell = 1;
        for (Scenario scenario : Scenario.values()) {
            expected.put(scenario, cells[cell++]);
        }
        return expected;
    }

    private record Cell(Variant variant, Scenario scenario) {}

    /** The verdicts that the searches find, by variant and scenario. Uses all processors. */
    public static Map<Variant, Map<Scenario, String>> found() {
        List<Cell> cells = List.of(Variant.values()).stream()
                .flatMap(variant -> List.of(Scenario.values()).stream().map(scenario -> new Cell(variant, scenario)))
                .toList();
        Map<Cell, String> verdicts = cells.parallelStream()
                .filter(cell -> cell.variant().concerns(cell.scenario()))
                .collect(Collectors.toMap(cell -> cell, cell -> Verdict.of(cell.variant(), cell.scenario())
                        .toString()));
        Map<Variant, Map<Scenario, String>> found = new LinkedHashMap<>();
        for (Cell cell : cells) {
            found.computeIfAbsent(cell.variant(), variant -> new LinkedHashMap<>())
                    .put(
                            cell.scenario(),
                            verdicts.getOrDefault(
                                    cell, verdicts.getOrDefault(new Cell(Variant.TODAY, cell.scenario()), "")));
        }
        return found;
    }

    /** @return the first scenario in which ours loses, or what it throws there; empty if it keeps everywhere */
    public static String loss() {
        for (Scenario scenario : Scenario.values()) {
            try {
                Verdict verdict = Verdict.of(Variant.TODAY, scenario);
                if (verdict.buffered() != Ending.KEEPS) {
                    return verdict + " in " + scenario;
                }
            } catch (IllegalStateException | IllegalArgumentException | StackOverflowError e) {
                return e + " in " + scenario;
            }
        }
        return "";
    }
}
