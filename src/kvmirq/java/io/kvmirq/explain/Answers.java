/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import io.kvmirq.Errno;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Looks up the causes of kernel errnos, and other kernel behaviours. Makes no kernel call. */
public final class Answers {
    private static final int MOST_IN_A_SENTENCE = 3;

    private Answers() {}

    /** The answers of all areas. Of two answers for a call and errno, the likelier one comes first. */
    public static Stream<Answer> all() {
        return Stream.<Answer[]>of(
                        VmAnswer.values(),
                        IrqfdAnswer.values(),
                        InterruptAnswer.values(),
                        ChipAnswer.values(),
                        VfioAnswer.values(),
                        VfioIrqAnswer.values(),
                        IommufdAnswer.values(),
                        FileAnswer.values(),
                        SetupAnswer.values(),
                        SignalAnswer.values(),
                        ArmAnswer.values(),
                        VgicAnswer.values())
                .flatMap(Arrays::stream);
    }

    /** The answers that the fake kernel implements, which are those whose grade is not {@link Grade#UNTESTED}. */
    public static Stream<Answer> rules() {
        return all().filter(answer -> answer.grade() != Grade.UNTESTED);
    }

    public static Set<Answer> rules(Set<String> names) {
        return rules().filter(rule -> names.contains(rule.name())).collect(Collectors.toSet());
    }

    /** The possible causes of a call's errno, likeliest first. Empty if no cause is known. Errno 0 means success. */
    public static List<Answer> find(KernelCall call, int errno, Set<Condition> known) {
        Set<Condition> facts = facts(call, known);
        List<KernelCall> calls = new ArrayList<>(List.of(call, call.kind()));
        calls.addAll(call.alsoMeant());
        calls.add(KernelCall.ANY_IOCTL);
        calls.removeIf(other ->
                other.implied().stream().anyMatch(implied -> facts.stream().anyMatch(implied::excludes)));
        Set<String> said = new HashSet<>();
        return all().filter(answer -> answer.errno() == errno)
                .filter(answer -> answer.row().calls().stream().anyMatch(calls::contains))
                .filter(answer -> answer.row().isPossible(facts))
                .sorted(Comparator.comparing((Answer answer) -> !answer.row().isCertain(facts))
                        .thenComparing(answer -> -answer.row().support(facts))
                        .thenComparing(answer -> nearest(calls, answer)))
                .filter(answer -> said.add(answer.text() + " " + answer.conditions()))
                .toList();
    }

    /** The index of the first call that has this answer. */
    private static int nearest(List<KernelCall> calls, Answer answer) {
        int place = 0;
        while (!answer.row().calls().contains(calls.get(place))) {
            place++;
        }
        return place;
    }

    private static Set<Condition> facts(KernelCall call, Set<Condition> known) {
        Set<Condition> facts = EnumSet.noneOf(Condition.class);
        facts.addAll(known);
        facts.addAll(call.implied());
        known.forEach(answer -> answer.implied().ifPresent(facts::add));
        return facts;
    }

    /**
     * The errnos that have answers for a call. {@code name} is a {@link KernelCall} label or a kernel name, which can
     * mean several calls. Empty if no answer is about the call.
     */
    public static Set<Errno> errnos(String name) {
        Optional<KernelCall> found = KernelCall.parse(name);
        Set<KernelCall> calls = EnumSet.noneOf(KernelCall.class);
        found.ifPresent(call -> {
            calls.addAll(List.of(call, call.kind()));
            if (!call.label().equals(name)) { // a label means one call
                calls.addAll(call.alsoMeant());
            }
        });
        return all().filter(answer -> answer.errno() != 0)
                .filter(answer -> answer.row().calls().stream().anyMatch(calls::contains))
                .map(answer -> new Errno(answer.errno()))
                .collect(Collectors.toCollection(() -> new TreeSet<>(Comparator.comparing(Errno::toString))));
    }

    /** The certain cause, or the likeliest few, as a clause of an error message. Empty if no cause is known. */
    public static String sentence(KernelCall call, Errno errno, Set<Condition> known) {
        List<Answer> causes = find(call, errno.number(), known);
        List<Answer> own = causes.stream()
                .filter(cause -> cause.row().calls().contains(call.kind())
                        || cause.row().calls().contains(call))
                .toList();
        List<Answer> answers = own.isEmpty() ? causes : own;
        boolean certain = !answers.isEmpty() && answers.get(0).row().isCertain(facts(call, known));
        return answers.stream()
                .map(Answer::text)
                .distinct()
                .limit(certain ? 1 : MOST_IN_A_SENTENCE)
                .collect(Collectors.joining(", or "));
    }
}
