/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.launcher.LauncherConstants;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherConfig;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/** The runs of a class of tests that may fail, in their order. */
final class KitRun implements TestExecutionListener {
    /** @param said the message of a failure, with those suppressed after it; or the reason of a disabled run */
    record Outcome(String name, String status, String said) {}

    private final List<Outcome> outcomes = new ArrayList<>();

    static List<Outcome> of(Class<?> tests) {
        return of(tests, Map.of());
    }

    static List<Outcome> of(Class<?> tests, Map<String, String> parameters) {
        KitRun run = new KitRun();
        LauncherFactory.create(LauncherConfig.builder()
                        .enableTestExecutionListenerAutoRegistration(false)
                        .build())
                .execute(
                        LauncherDiscoveryRequestBuilder.request()
                                .selectors(selectClass(tests))
                                .configurationParameters(parameters)
                                .configurationParameter(
                                        LauncherConstants.STACKTRACE_PRUNING_ENABLED_PROPERTY_NAME, "false")
                                .build(),
                        run);
        return List.copyOf(run.outcomes);
    }

    /** The one run of a class. */
    static Outcome single(Class<?> tests) {
        List<Outcome> outcomes = of(tests);
        assertThat(outcomes).hasSize(1);
        return outcomes.get(0);
    }

    @Override
    public synchronized void executionSkipped(TestIdentifier test, String reason) {
        outcomes.add(new Outcome(test.getDisplayName(), "SKIPPED", reason));
    }

    @Override
    public synchronized void executionFinished(TestIdentifier test, TestExecutionResult result) {
        boolean container = test.isContainer();
        if (container && result.getStatus() == TestExecutionResult.Status.SUCCESSFUL) {
            return;
        }
        String said = result.getThrowable()
                .map(thrown -> thrown.getMessage()
                        + String.join(
                                "",
                                Arrays.stream(thrown.getSuppressed())
                                        .map(Throwable::getMessage)
                                        .map(" + "::concat)
                                        .toList()))
                .orElse("");
        outcomes.add(new Outcome(test.getDisplayName(), result.getStatus().name(), Objects.requireNonNull(said)));
        result.getThrowable().ifPresent(KitRun::requireNoStackOfOurs);
    }

    /** The first line of a stack is one of the test. */
    private static void requireNoStackOfOurs(Throwable thrown) {
        if (thrown instanceof Mistake || thrown instanceof AssertionError && thrown.getStackTrace().length == 1) {
            assertThat(thrown.getStackTrace()).hasSizeLessThanOrEqualTo(1);
        }
    }
}
