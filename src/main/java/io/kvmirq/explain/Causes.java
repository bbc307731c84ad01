/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import io.kvmirq.Errno;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Which causes an answer of the kernel may have. Nothing here asks the kernel anything. */
public final class Causes {
    private static final int MOST_IN_A_SENTENCE = 3;

    private Causes() {}

    /** Every cause of every area, likeliest first within a call and errno. */
    public static Stream<Cause> all() {
        return Stream.<Cause[]>of(
                        VmCause.values(),
                        IrqfdCause.values(),
                        InterruptCause.values(),
                        VfioCause.values(),
                        VfioFileCause.values(),
                        VfioDeviceCause.values(),
                        IommufdCause.values(),
                        FileCause.values(),
                        ArmCause.values(),
                        VgicCause.values())
                .flatMap(Arrays::stream);
    }

    /**
     * Those that remain, likeliest first; empty for an answer that no cause is known of.
     *
     * @param errno its number; 0 for success
     */
    public static List<Cause> of(KernelCall call, int errno, Set<Fact> known) {
        Set<Fact> facts = EnumSet.noneOf(Fact.class);
        facts.addAll(known);
        facts.addAll(call.implied());
        List<KernelCall> calls = new ArrayList<>(List.of(call, call.kind()));
        calls.addAll(call.alsoMeant());
        calls.add(KernelCall.ANY_IOCTL);
        Set<String> said = new HashSet<>();
        return all().filter(cause -> cause.errno() == errno)
                .filter(cause -> calls.contains(cause.call()))
                .filter(cause -> cause.explanation().isPossible(facts))
                .sorted(Comparator.comparing(
                                (Cause cause) -> !cause.explanation().isCertain(facts))
                        .thenComparing(cause -> -cause.explanation().support(facts))
                        .thenComparing(cause -> calls.indexOf(cause.call())))
                .filter(cause -> said.add(cause.text() + " " + cause.conditions()))
                .toList();
    }

    /**
     * The likeliest as one clause, for a message: one that is certain alone, else the first few. Empty when nothing is
     * known.
     */
    public static String sentence(KernelCall call, Errno errno, Set<Fact> known) {
        List<Cause> causes = of(call, errno.number(), known);
        List<Cause> own = causes.stream()
                .filter(cause -> cause.call() == call.kind() || cause.call() == call)
                .toList();
        List<Cause> told = own.isEmpty() ? causes : own;
        Set<Fact> facts = EnumSet.noneOf(Fact.class);
        facts.addAll(known);
        facts.addAll(call.implied());
        boolean certain = !told.isEmpty() && told.get(0).explanation().isCertain(facts);
        return told.stream()
                .map(Cause::text)
                .distinct()
                .limit(certain ? 1 : MOST_IN_A_SENTENCE)
                .collect(Collectors.joining(", or "));
    }
}
