/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.Answers;
import io.kvmirq.explain.Grade;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Refusals;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/** The fake kernel's rules that tests leaned on which ask a real kernel the same. Thread-safe. */
public final class RulesSeen {
    private static final Set<Answer> SEEN = new HashSet<>();

    private static final Set<Refusals.Refused> REFUSALS = new LinkedHashSet<>();

    private RulesSeen() {}

    /** Of a fake that was asked what a real kernel was asked in the same run. */
    public static synchronized void add(FakeKernel fake) {
        SEEN.addAll(Refusals.rules(fake));
        addRefusals(fake);
    }

    /** Of a fake that was compared with what a kernel of the lab once answered: nothing was measured here. */
    public static synchronized void addRecorded(FakeKernel fake) {
        Refusals.rules(fake).stream().filter(rule -> rule.grade() == Grade.LAB).forEach(SEEN::add);
        addRefusals(fake);
    }

    /** Of a fake that was asked what no kernel of this run answers: its refusals are explained all the same. */
    public static synchronized void addRefusals(FakeKernel fake) {
        Refusals.of(fake).forEach(REFUSALS::add);
    }

    /** The calls that rules have refused. */
    public static synchronized Set<Refusals.Refused> refusals() {
        return Set.copyOf(REFUSALS);
    }

    /** A row for each rule. Empty where no test has asked the fake anything. */
    static synchronized List<RuleRow> rows(String run) {
        if (SEEN.isEmpty()) {
            return List.of();
        }
        return Answers.rules()
                .map(rule -> new RuleRow(run, rule.name(), rule.grade(), SEEN.contains(rule), rule.text()))
                .toList();
    }
}
