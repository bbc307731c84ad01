/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectPackage;

import io.kvmirq.backend.libc.UapiTable;
import io.kvmirq.fake.Rule;
import io.kvmirq.testing.RulesSeen;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.platform.engine.discovery.ClassNameFilter;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.core.LauncherConfig;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;

/** Whatever errno the contract suite provokes on the fake, the explainer names the rule that made it. */
class ProvokedErrnosTest {
    @Test
    void everyErrnoTheContractProvokesIsExplainedByItsCause() {
        assertThat(runContractOnTheFake()).as("contract rows run").isGreaterThan(80);
        List<String> unexplained = new ArrayList<>();
        int explained = 0;
        for (var refusal : RulesSeen.refusals().entrySet()) {
            for (long request : refusal.getValue()) {
                KernelCall call = call(request);
                if (isExplained(call, refusal.getKey())) {
                    explained++;
                } else {
                    unexplained.add(call.label() + " " + refusal.getKey().errno() + ": " + refusal.getKey());
                }
            }
        }
        System.out.println("errnos provoked by the contract, by request and cause: " + explained + " explained, "
                + unexplained.size() + " not");
        assertThat(unexplained).isEmpty();
        assertThat(explained).isGreaterThan(60);
    }

    private static boolean isExplained(KernelCall call, Rule rule) {
        return Causes.of(call, rule.errno().orElseThrow().number(), Set.of()).stream()
                .anyMatch(cause -> cause.rules().contains(rule.name()));
    }

    private static KernelCall call(long request) {
        return UapiTable.REQUESTS.stream()
                .filter(known -> known.number() == request)
                .flatMap(known -> KernelCall.of(known.name()).stream())
                .findFirst()
                .orElse(KernelCall.ANY_IOCTL);
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
                            .selectors(selectPackage("io.kvmirq.contract"))
                            .filters(ClassNameFilter.includeClassNamePatterns(".*Contract"))
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
