/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import io.kvmirq.Errno;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * What a {@link Cause} says.
 *
 * @param call what was asked
 * @param errno its number; 0 for a success that is not what it seems
 * @param text the cause, one clause that begins in lower case
 * @param check what to look at or do next, one clause
 * @param source file and function of the kernel
 * @param needs what must be so for it to be the cause; of two that exclude each other, one or the other
 * @param certain whether it is the cause as soon as all it needs is known to be so
 * @param excluding what rules it out
 */
public record Explanation(
        KernelCall call,
        int errno,
        String text,
        String check,
        String source,
        List<Fact> needs,
        boolean certain,
        List<Fact> excluding) {

    static Explanation refusal(KernelCall call, Errno errno, String text, String check, String source) {
        return new Explanation(call, errno.number(), text, check, source, List.of(), false, List.of());
    }

    /** Of a call that succeeded. */
    static Explanation success(KernelCall call, String text, String check, String source) {
        return new Explanation(call, 0, text, check, source, List.of(), false, List.of());
    }

    /** The cause is possible only if these are so. */
    Explanation needs(Fact... facts) {
        return new Explanation(call, errno, text, check, source, List.of(facts), certain, excluding);
    }

    /** The cause is possible only if these are so, and certain if they are. */
    Explanation certainWhen(Fact... facts) {
        return new Explanation(call, errno, text, check, source, List.of(facts), true, excluding);
    }

    /** The cause is impossible if one of these is so. */
    Explanation unless(Fact... facts) {
        return new Explanation(call, errno, text, check, source, needs, certain, List.of(facts));
    }

    /** Whether nothing known speaks against it. */
    boolean isPossible(Set<Fact> known) {
        return excluding.stream().noneMatch(known::contains)
                && known.stream()
                        .noneMatch(
                                fact -> !needs.contains(fact) && needs.stream().anyMatch(fact::excludes));
    }

    /** Whether what is known leaves no other cause. */
    boolean isCertain(Set<Fact> known) {
        return certain
                && needs.stream().allMatch(need -> needs.stream()
                        .anyMatch(other -> known.contains(other) && (other == need || other.excludes(need))));
    }

    /** How much of what it needs is known to be so. */
    int support(Set<Fact> known) {
        Set<Fact> supported = EnumSet.noneOf(Fact.class);
        supported.addAll(needs);
        supported.retainAll(known);
        return supported.size();
    }

    /** What it needs, in words: all of these. */
    List<String> conditions() {
        return needs.stream()
                .map(need -> needs.stream()
                        .filter(other -> other == need || other.excludes(need))
                        .map(Fact::text)
                        .collect(Collectors.joining(", or ")))
                .distinct()
                .toList();
    }
}
