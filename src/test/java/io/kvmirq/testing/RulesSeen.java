/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.Answers;
import io.kvmirq.explain.Condition;
import io.kvmirq.explain.Grade;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Refusals;
import io.kvmirq.uapi.UapiTable;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The fake kernel's rules that tests leaned on which ask a real kernel the same. A refusal that {@code kvmirq errno} does
 * not explain fails the test that met it. Thread-safe.
 */
public final class RulesSeen {
    private static final Map<Answer, RuleRow.Status> LEANED_ON = new HashMap<>();

    private static final Set<Refusals.Refused> EXPLAINED = new HashSet<>();

    private RulesSeen() {}

    /** Adds the rules of a fake that was asked the same as a real kernel in this run. */
    public static synchronized void add(FakeKernel fake) {
        Refusals.rules(fake).forEach(rule -> LEANED_ON.put(rule, RuleRow.Status.SEEN));
        addRefusals(fake);
    }

    /** Adds the rules of a fake that a search asked the same random calls as a real kernel: chance decides which. */
    public static synchronized void addSearched(FakeKernel fake) {
        Refusals.rules(fake).forEach(rule -> LEANED_ON.putIfAbsent(rule, RuleRow.Status.SEARCHED));
        addRefusals(fake);
    }

    /** Adds the rules of a fake that was compared with a recorded answer of a lab kernel: nothing was measured here. */
    public static synchronized void addRecorded(FakeKernel fake) {
        Refusals.rules(fake).stream()
                .filter(rule -> rule.grade() == Grade.LAB)
                .forEach(rule -> LEANED_ON.put(rule, RuleRow.Status.SEEN));
        addRefusals(fake);
    }

    /** Adds a fake that was asked what no kernel of this run answers: its refusals are explained all the same. */
    public static synchronized void addRefusals(FakeKernel fake) {
        Refusals.of(fake).filter(EXPLAINED::add).forEach(RulesSeen::requireExplained);
    }

    /** The explainer names the rule that refused, whether or not the facts are given. */
    private static void requireExplained(Refusals.Refused refused) {
        Set<Condition> facts = refused.facts().stream()
                .map(label -> Condition.parse(label).orElseThrow())
                .collect(Collectors.toSet());
        for (Set<Condition> known : List.of(Set.<Condition>of(), facts)) {
            if (calls(refused).stream()
                    .flatMap(call -> Answers.find(call, refused.rule().errno(), known).stream())
                    .noneMatch(cause -> explains(cause, refused.rule()))) {
                throw new AssertionError("not explained by its rule, with the facts " + known + ": " + refused);
            }
        }
    }

    private static boolean explains(Answer cause, Answer rule) {
        return cause == rule
                || cause.row().others().contains(rule.row())
                || rule.row().others().contains(cause.row());
    }

    /** Several: one number is a request to a VFIO device, and another one to a container. */
    private static List<KernelCall> calls(Refusals.Refused refused) {
        Stream<String> names = refused.request() == 0
                ? Stream.of(refused.call())
                : UapiTable.find(refused.request()).stream().map(UapiTable.Request::name);
        List<KernelCall> calls =
                names.flatMap(name -> KernelCall.parse(name).stream()).toList();
        return calls.isEmpty() ? List.of(KernelCall.ANY_IOCTL) : calls;
    }

    /** A row for each rule. Empty where no test has asked the fake anything. */
    static synchronized List<RuleRow> rows(String run) {
        if (LEANED_ON.isEmpty()) {
            return List.of();
        }
        return Answers.rules()
                .map(rule -> new RuleRow(
                        run,
                        rule.name(),
                        rule.grade(),
                        LEANED_ON.getOrDefault(rule, RuleRow.Status.UNSEEN),
                        rule.text()))
                .toList();
    }
}
