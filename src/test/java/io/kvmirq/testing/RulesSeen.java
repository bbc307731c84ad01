/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Grade;
import io.kvmirq.fake.Rule;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** The fake kernel's rules that tests leaned on which ask a real kernel the same. Thread-safe. */
public final class RulesSeen {
    /** Shown on real KVM by a program of its own: src/test/native/bare.c forks. */
    private static final Set<Rule> IN_C = EnumSet.of(Rule.FOREIGN_PROCESS);

    private static final Set<Rule> SEEN = EnumSet.noneOf(Rule.class);

    private RulesSeen() {}

    private static final Map<Rule, Set<Long>> REFUSALS = new EnumMap<>(Rule.class);

    public static synchronized void add(FakeKernel fake) {
        SEEN.addAll(fake.rulesUsed());
        fake.refusals().forEach((rule, requests) -> REFUSALS.computeIfAbsent(rule, none -> new TreeSet<>())
                .addAll(requests));
    }

    /** The ioctl requests that each rule has refused. */
    public static synchronized Map<Rule, Set<Long>> refusals() {
        return Map.copyOf(REFUSALS);
    }

    /** A row for each rule: name, grade, whether it was seen, text. Empty where no test has asked the fake anything. */
    static synchronized List<String> rows() {
        if (SEEN.isEmpty()) {
            return List.of();
        }
        return Arrays.stream(Rule.values())
                .map(rule -> String.join("\t", rule.name(), rule.grade().label(), seen(rule), rule.text()))
                .toList();
    }

    private static String seen(Rule rule) {
        boolean real = rule.grade() == Grade.MEASURED && IN_C.contains(rule);
        return SEEN.contains(rule) || real ? "seen" : "unseen";
    }
}
