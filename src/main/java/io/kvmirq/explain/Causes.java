/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import io.kvmirq.Errno;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Which causes an answer of the kernel may have. Nothing here asks the kernel anything. */
public final class Causes {
    private static final int MOST_IN_A_SENTENCE = 3;

    private Causes() {}

    /** Every row of every table, likeliest first within a call and errno. */
    public static Stream<Cause> all() {
        return Stream.of(
                        VmCauses.rows(),
                        IrqfdCauses.rows(),
                        InterruptCauses.rows(),
                        VfioCauses.rows(),
                        FileCauses.rows(),
                        ArmCauses.rows())
                .flatMap(List::stream);
    }

    /**
     * Those that remain, likeliest first; empty for an answer we have no row of.
     *
     * @param errno its number; 0 for success
     */
    public static List<Cause> of(KernelCall call, int errno, Set<Fact> known) {
        List<KernelCall> calls = new ArrayList<>(List.of(call));
        calls.addAll(call.alsoMeant());
        calls.add(KernelCall.ANY_IOCTL);
        Set<String> named = new HashSet<>();
        return all().filter(cause -> cause.errno() == errno)
                .filter(cause -> calls.contains(cause.call()))
                .filter(cause -> cause.isPossible(known))
                .sorted(Comparator.comparingInt((Cause cause) -> -cause.support(known))
                        .thenComparing(cause -> calls.indexOf(cause.call())))
                .filter(cause -> named.add(cause.rules() + " " + cause.needs()))
                .toList();
    }

    /**
     * The likeliest as one clause, for a message; empty when nothing is known.
     *
     * @param call as the message names it
     */
    public static String sentence(String call, Errno errno, Set<Fact> known) {
        Optional<KernelCall> named = KernelCall.of(call);
        if (named.isEmpty()) {
            return "";
        }
        Set<Fact> facts = EnumSet.noneOf(Fact.class);
        facts.addAll(known);
        facts.addAll(KernelCall.implied(call));
        List<Cause> causes = of(named.get(), errno.number(), facts);
        List<Cause> own =
                causes.stream().filter(cause -> cause.call() == named.get()).toList();
        return (own.isEmpty() ? causes : own)
                .stream().map(Cause::text).distinct().limit(MOST_IN_A_SENTENCE).collect(Collectors.joining(", or "));
    }
}
