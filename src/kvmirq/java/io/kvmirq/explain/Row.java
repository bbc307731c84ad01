/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import io.kvmirq.Errno;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * An {@link Answer}'s calls, errno, sentences and evidence.
 *
 * @param grade the strength of the evidence
 * @param calls the calls with this answer, empty for a behaviour and for a row that {@link #like} returned
 * @param errno the errno number, 0 if the answer is not a refusal
 * @param text the cause of the refusal, or the behaviour, as a clause that begins in lower case
 * @param check the next thing to check or do, as a clause, empty for a behaviour
 * @param source the kernel source file and function that refuse the call or show the behaviour
 * @param needs the conditions that must hold for this cause. Of conditions that exclude each other, one is enough
 * @param certain whether the cause is certain if all needed conditions are known to hold
 * @param excluding the conditions that each rule this cause out
 * @param others the rows that explain the same refusal in other calls, or in other states of the kernel
 */
public record Row(
        Grade grade,
        List<KernelCall> calls,
        int errno,
        String text,
        String check,
        String source,
        List<Condition> needs,
        boolean certain,
        List<Condition> excluding,
        List<Row> others) {

    static Row refusal(Grade grade, KernelCall call, Errno errno, String text, String check, String source) {
        return new Row(grade, List.of(call), errno.number(), text, check, source);
    }

    /** A call that succeeds but does less than its caller may expect. */
    static Row success(Grade grade, KernelCall call, String text, String check, String source) {
        return new Row(grade, List.of(call), 0, text, check, source);
    }

    /** A kernel behaviour that refuses nothing. */
    static Row behaviour(Grade grade, String text, String source) {
        return new Row(grade, List.of(), 0, text, "", source);
    }

    /** Another kernel check with the same cause as {@code row}, but its own evidence. */
    static Row like(Grade grade, Row row) {
        return new Row(grade, List.of(), row.errno, row.text, row.check, row.source).or(row);
    }

    private Row(Grade grade, List<KernelCall> calls, int errno, String text, String check, String source) {
        this(grade, calls, errno, text, check, source, List.of(), false, List.of(), List.of());
    }

    /** Adds other calls that fail with the same cause. */
    Row also(KernelCall... more) {
        List<KernelCall> all = Stream.concat(calls.stream(), Stream.of(more)).toList();
        return new Row(grade, all, errno, text, check, source, needs, certain, excluding, others);
    }

    /** Makes the cause possible only if these conditions hold. */
    Row needs(Condition... facts) {
        return new Row(grade, calls, errno, text, check, source, List.of(facts), certain, excluding, others);
    }

    /** Makes the cause possible only if these conditions hold, and certain if they do. */
    Row certainWhen(Condition... facts) {
        return new Row(grade, calls, errno, text, check, source, List.of(facts), true, excluding, others);
    }

    /** Makes the cause impossible if one of these conditions holds. */
    Row unless(Condition... facts) {
        return new Row(grade, calls, errno, text, check, source, needs, certain, List.of(facts), others);
    }

    /** Adds a row that explains the same refusal in another call or state. */
    Row or(Row other) {
        List<Row> all = Stream.concat(others.stream(), Stream.of(other)).toList();
        return new Row(grade, calls, errno, text, check, source, needs, certain, excluding, all);
    }

    boolean isPossible(Set<Condition> known) {
        return excluding.stream().noneMatch(known::contains)
                && known.stream()
                        .noneMatch(
                                fact -> !needs.contains(fact) && needs.stream().anyMatch(fact::excludes));
    }

    boolean isCertain(Set<Condition> known) {
        return certain
                && needs.stream().allMatch(need -> needs.stream()
                        .anyMatch(other -> known.contains(other) && (other == need || other.excludes(need))));
    }

    /** The number of needed conditions that are known to hold. */
    int support(Set<Condition> known) {
        Set<Condition> supported = EnumSet.noneOf(Condition.class);
        supported.addAll(needs);
        supported.retainAll(known);
        return supported.size();
    }

    List<String> conditions() {
        return needs.stream()
                .map(need -> needs.stream()
                        .filter(other -> other == need || other.excludes(need))
                        .map(Condition::text)
                        .collect(Collectors.joining(", or ")))
                .distinct()
                .toList();
    }
}
