/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectPackage;

import io.kvmirq.fake.Refusals;
import io.kvmirq.testing.RulesSeen;
import io.kvmirq.uapi.UapiTable;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.platform.engine.discovery.ClassNameFilter;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.core.LauncherConfig;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;

/** For each errno that contracts and VFIO tests provoke on the fake, the explainer names the rule that refused. */
@Tag("long")
class ProvokedErrnosTest {
    @Test
    void everyErrnoTheContractProvokesIsExplainedByItsCause() {
        assertThat(runContractOnTheFake()).as("contract rows run").isGreaterThan(80);
        List<String> unexplained = new ArrayList<>();
        int explained = 0;
        for (Refusals.Refused refused : RulesSeen.refusals()) {
            List<KernelCall> calls = calls(refused);
            if (isExplained(calls, refused, Set.of()) && isExplained(calls, refused, facts(refused))) {
                explained++;
            } else {
                unexplained.add(calls + " " + refused.rule().errno() + ": " + refused);
            }
        }
        System.out.println("errnos provoked by the contract, by call, state and cause: " + explained + " explained, "
                + unexplained.size() + " not");
        assertThat(unexplained).isEmpty();
        assertThat(explained).isGreaterThan(60);
    }

    private static boolean isExplained(List<KernelCall> calls, Refusals.Refused refused, Set<Fact> known) {
        int errno = refused.rule().errno();
        return calls.stream()
                .flatMap(call -> Answers.of(call, errno, known).stream())
                .anyMatch(cause -> explains(cause, refused.rule()));
    }

    private static boolean explains(Answer cause, Answer rule) {
        return cause == rule
                || cause.row().others().contains(rule.row())
                || rule.row().others().contains(cause.row());
    }

    private static Set<Fact> facts(Refusals.Refused refused) {
        return refused.facts().stream()
                .map(label -> Fact.of(label).orElseThrow())
                .collect(Collectors.toSet());
    }

    /** Several: one number is a request to a VFIO device, and another one to a container. */
    private static List<KernelCall> calls(Refusals.Refused refused) {
        Stream<String> names = refused.request() == 0
                ? Stream.of(refused.call())
                : UapiTable.find(refused.request()).stream().map(UapiTable.Request::name);
        List<KernelCall> calls =
                names.flatMap(name -> KernelCall.of(name).stream()).toList();
        return calls.isEmpty() ? List.of(KernelCall.ANY_IOCTL) : calls;
    }

    private static long runContractOnTheFake() {
        SummaryGeneratingListener summary = new SummaryGeneratingListener();
        String before = System.setProperty("kvmirq.test.backends", "fake");
        try {
            Launcher launcher = LauncherFactory.create(LauncherConfig.builder()
                    .enableTestExecutionListenerAutoRegistration(false)
                    .build());
            launcher.execute(
                    LauncherDiscoveryRequestBuilder.request()
                            .selectors(selectPackage("io.kvmirq.contract"), selectPackage("io.kvmirq.fake"))
                            .filters(ClassNameFilter.includeClassNamePatterns(".*Contract", ".*\\.Vfio\\w+Test"))
                            .build(),
                    summary);
        } finally {
            if (before == null) {
                System.clearProperty("kvmirq.test.backends");
            } else {
                System.setProperty("kvmirq.test.backends", before);
            }
        }
        return summary.getSummary().getTestsSucceededCount();
    }
}
