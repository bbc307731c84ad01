/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.jspecify.annotations.Nullable;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestTag;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;

/** Writes a {@link TestRow} for each test and a {@link RuleRow} for each rule of the fake. {@link Summary} reads them. */
public final class SummaryListener implements TestExecutionListener {
    private final @Nullable String directory = System.getProperty("kvmirq.test.summary");
    private final String run = System.getProperty("kvmirq.test.run", "tests");
    private @Nullable TestPlan plan;

    @Override
    public void testPlanExecutionStarted(TestPlan started) {
        plan = started;
    }

    @Override
    public void executionSkipped(TestIdentifier test, String reason) {
        if (test.isTest()) {
            row(test, TestRow.Status.SKIPPED, reason);
        } else if (plan != null) {
            plan.getChildren(test).forEach(child -> executionSkipped(child, reason));
        }
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
        String reason = result.getThrowable().map(Throwable::getMessage).orElse("");
        switch (result.getStatus()) {
            case SUCCESSFUL -> {
                if (test.isTest()) {
                    row(test, TestRow.Status.PASSED, "");
                }
            }
            case ABORTED -> row(test, TestRow.Status.SKIPPED, reason);
            case FAILED -> row(test, TestRow.Status.FAILED, reason);
        }
    }

    /** {@code run.rules}: what the contract and the search have leaned on. */
    @Override
    public void testPlanExecutionFinished(TestPlan finished) {
        RulesSeen.rows(run).forEach(rule -> append(".rules", rule.line()));
    }

    private void row(TestIdentifier test, TestRow.Status status, String reason) {
        String world = world(test);
        String kernel =
                world.startsWith("fake") ? "fake" : world.isEmpty() && !onRealKvm(test) ? "none" : TestRow.REAL_KVM;
        String jdk = System.getProperty("java.specification.version");
        append(".tsv", new TestRow(run, jdk, kernel, status, name(test), reason, world).line());
    }

    private void append(String suffix, String line) {
        if (directory == null) {
            return;
        }
        try {
            Path file = Files.createDirectories(Path.of(directory)).resolve(run + suffix);
            Files.writeString(file, line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Through what a contract test asks the kernel: the name of its class's invocation; empty for other tests. */
    private String world(TestIdentifier test) {
        boolean invocation = test.getUniqueIdObject().getLastSegment().getType().equals("class-template-invocation");
        if (invocation) {
            return test.getDisplayName().replaceAll("^\\[\\d+] ", "");
        }
        return plan == null ? "" : plan.getParent(test).map(this::world).orElse("");
    }

    private boolean onRealKvm(TestIdentifier test) {
        return test.getTags().contains(TestTag.create(RealKvm.TAG))
                || (plan != null && plan.getParent(test).filter(this::onRealKvm).isPresent());
    }

    private static String name(TestIdentifier test) {
        return test.getSource()
                .filter(MethodSource.class::isInstance)
                .map(MethodSource.class::cast)
                .map(source -> source.getClassName() + "." + source.getMethodName())
                .orElseGet(test::getDisplayName);
    }
}
