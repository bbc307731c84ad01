/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import io.kvmirq.Errno;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * One reason for one answer of the kernel.
 *
 * @param rules that make the kernel refuse, by the names the fake kernel has for them; in lower case where it has none
 * @param call what was asked
 * @param errno its number; 0 for a success that is not what it seems
 * @param needs what must be so for it to be the reason; of two that exclude each other, one or the other
 * @param text the cause, one clause that begins in lower case
 * @param check what to look at or do next, one clause
 */
public record Cause(List<String> rules, KernelCall call, int errno, List<Fact> needs, String text, String check) {
    static Cause cause(String rules, KernelCall call, Errno errno, String text, String check, Fact... needs) {
        return new Cause(List.of(rules.split(" ", -1)), call, errno.number(), List.of(needs), text, check);
    }

    /** Of a call that succeeded. */
    static Cause success(String rules, KernelCall call, String text, String check, Fact... needs) {
        return new Cause(List.of(rules.split(" ", -1)), call, 0, List.of(needs), text, check);
    }

    /** Whether nothing known speaks against it. */
    boolean isPossible(Set<Fact> known) {
        return known.stream()
                .noneMatch(fact -> !needs.contains(fact) && needs.stream().anyMatch(fact::excludes));
    }

    /** What it needs, in words: all of these. */
    public List<String> conditions() {
        return needs.stream()
                .map(need -> needs.stream()
                        .filter(other -> other == need || other.excludes(need))
                        .map(Fact::text)
                        .collect(Collectors.joining(", or ")))
                .distinct()
                .toList();
    }

    /** How much of what it needs is known to be so. */
    int support(Set<Fact> known) {
        Set<Fact> supported = EnumSet.noneOf(Fact.class);
        supported.addAll(needs);
        supported.retainAll(known);
        return supported.size();
    }
}
