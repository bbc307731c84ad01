/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.path.Flaw.Weight;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * Kinds of things that may stand between a device interrupt and a vCPU: how many of their members rules name, and which
 * no file shows. {@code kinds.txt} has the kinds, with their members that have no rule. Immutable.
 */
public final class Kinds {
    /** Why a member has no rule of its own. */
    public enum Without {
        /** A table of its own has the members of a rule. */
        TABLE,
        HARMLESS,
        INVISIBLE
    }

    /** @param members how many members of the list it stands for */
    public record Member(String name, int members, Without without, String why) {}

    /** @param list the list that it is counted from */
    public record Kind(String name, String list, List<Rule<?>> rules, List<Member> others) {
        private long ruled() {
            return rules.stream()
                    .filter(rule -> rule.row().weight() != Weight.REMARK)
                    .count();
        }

        private long without(Without why) {
            return others.stream()
                    .filter(member -> member.without == why)
                    .mapToLong(Member::members)
                    .sum();
        }

        /** In a line: the members that a rule accuses, those of which a rule makes a remark, and the others. */
        @Override
        public String toString() {
            long remarks = rules.size() - ruled() + without(Without.TABLE);
            return String.format(
                    "%-12s  %3d members: %2d ruled, %2d remarked, %3d harmless, %2d that no file shows; %s",
                    name,
                    ruled() + remarks + without(Without.HARMLESS) + without(Without.INVISIBLE),
                    ruled(),
                    remarks,
                    without(Without.HARMLESS),
                    without(Without.INVISIBLE),
                    list);
        }
    }

    private Kinds() {}

    /** The kinds of some rules, each of which is of one kind. */
    public static List<Kind> of(List<? extends Rule<?>> rules) {
        List<Kind> kinds = new ArrayList<>();
        Rows.each("kinds.txt", Rows.shipped("kinds.txt"), columns -> {
            String name = columns.get(0);
            if (name.startsWith("@")) {
                List<String> begins = List.of(columns.get(2).split(", "));
                kinds.add(new Kind(
                        name.substring(1),
                        columns.get(1),
                        rules.stream()
                                .<Rule<?>>map(rule -> rule)
                                .filter(rule -> begins.stream().anyMatch(begin -> matches(rule.id(), begin)))
                                .toList(),
                        new ArrayList<>()));
                return;
            }
            String[] words = name.split(" ", 2);
            boolean counted = words[0].matches("\\d{1,4}");
            kinds.get(kinds.size() - 1)
                    .others
                    .add(new Member(
                            counted ? words[1] : name,
                            counted ? Integer.parseInt(words[0]) : name.split(", ").length,
                            Rows.value(Without.values(), columns.get(1), constant -> constant.name()
                                    .toLowerCase(Locale.ROOT)),
                            columns.get(2)));
        });
        return List.copyOf(kinds);
    }

    private static boolean matches(String id, String pattern) {
        return pattern.endsWith("*")
                ? id.startsWith(pattern.substring(0, pattern.length() - 1))
                : pattern.startsWith("*") ? id.endsWith(pattern.substring(1)) : id.equals(pattern);
    }

    /** A line for each kind, and one for each member that no file shows. */
    public static Stream<String> lines(List<? extends Rule<?>> rules) {
        List<Kind> kinds = of(rules);
        return Stream.concat(kinds.stream().map(Kind::toString), kinds.stream().flatMap(kind -> kind.others.stream()
                .filter(member -> member.without == Without.INVISIBLE)
                .map(member -> "no file shows  " + kind.name + ": " + member.name + ": " + member.why)));
    }
}
