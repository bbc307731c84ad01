/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestTag;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;

/** Writes a {@link TestRow} for each test and a {@link RuleRow} for each rule of the fake. {@link Summary} reads them. */
public final class SummaryListener implements TestExecutionListener {
    private static final @Nullable String DIRECTORY = System.getProperty("kvmirq.test.summary");

    /** Processes that share a run write files of their own: {@code RUN@PID.tsv}. */
    private static final String FILE = System.getProperty("kvmirq.test.queue") == null
            ? TestRow.THIS_RUN
            : TestRow.THIS_RUN + "@" + ProcessHandle.current().pid();

    /** At most so many causes of a failure are written. */
    private static final int CAUSES = 4;

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
        String failure = result.getThrowable().map(SummaryListener::failure).orElse("");
        switch (result.getStatus()) {
            case SUCCESSFUL -> {
                if (test.isTest()) {
                    row(test, TestRow.Status.PASSED, "");
                }
            }
            case ABORTED -> row(test, TestRow.Status.SKIPPED, reason);
            case FAILED -> row(test, TestRow.Status.FAILED, failure);
        }
    }

    /** An exception and its causes, each with its message and our line that threw it. */
    static String failure(Throwable thrown) {
        List<String> parts = new ArrayList<>();
        Throwable next = thrown;
        for (int depth = 0; next != null && depth < CAUSES; depth++, next = next.getCause()) {
            String at = Arrays.stream(next.getStackTrace())
                    .filter(frame -> frame.getClassName().startsWith("io.kvmirq."))
                    .findFirst()
                    .map(frame -> " at " + frame.getFileName() + ":" + frame.getLineNumber())
                    .orElse("");
            parts.add(next + at);
        }
        return String.join("; by ", parts);
    }

    /** {@code run.rules}: what the contract and the search have leaned on. */
    @Override
    public void testPlanExecutionFinished(TestPlan finished) {
        List<RuleRow> rules = RulesSeen.rows(TestRow.THIS_RUN);
        if (!rules.isEmpty()) {
            // All rules of this process so far: the last class writes the final ones.
            write(
                    ".rules",
                    rules.stream().map(rule -> rule.line() + "\n").collect(Collectors.joining()),
                    StandardOpenOption.TRUNCATE_EXISTING);
        }
    }

    private void row(TestIdentifier test, TestRow.Status status, String reason) {
        String world = world(plan, test);
        String kernel =
                world.startsWith("fake") ? "fake" : world.isEmpty() && !onRealKvm(test) ? "none" : TestRow.REAL_KVM;
        String jdk = System.getProperty("java.specification.version");
        append(".tsv", new TestRow(TestRow.THIS_RUN, jdk, kernel, status, name(test), reason, world).line());
    }

    /** The seconds of a class: a line of {@code RUN.seconds}. */
    static void seconds(String type, double seconds) {
        append(".seconds", TestRow.THIS_RUN + "\t" + type + "\t" + Math.round(seconds * 10) / 10.0);
    }

    /** The test during which a process stopped advancing. */
    static void stalled(String test) {
        String jdk = System.getProperty("java.specification.version");
        append(".tsv", new TestRow(TestRow.THIS_RUN, jdk, "none", TestRow.Status.FAILED, test, "stalled", "").line());
    }

    private static void append(String suffix, String line) {
        write(suffix, line + "\n", StandardOpenOption.APPEND);
    }

    private static void write(String suffix, String text, OpenOption option) {
        if (DIRECTORY == null) {
            return;
        }
        try {
            Path file = Files.createDirectories(Path.of(DIRECTORY)).resolve(FILE + suffix);
            Files.writeString(file, text, StandardOpenOption.CREATE, StandardOpenOption.WRITE, option);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Through what a contract test asks the kernel: the name of its class's invocation; empty for other tests. */
    static String world(@Nullable TestPlan plan, TestIdentifier test) {
        boolean invocation = test.getUniqueIdObject().getLastSegment().getType().equals("class-template-invocation");
        if (invocation) {
            return test.getDisplayName().replaceAll("^\\[\\d+] ", "");
        }
        return plan == null
                ? ""
                : plan.getParent(test).map(parent -> world(plan, parent)).orElse("");
    }

    private boolean onRealKvm(TestIdentifier test) {
        return test.getTags().contains(TestTag.create(RealKvm.TAG))
                || (plan != null && plan.getParent(test).filter(this::onRealKvm).isPresent());
    }

    static String name(TestIdentifier test) {
        return test.getSource()
                .filter(MethodSource.class::isInstance)
                .map(MethodSource.class::cast)
                .map(source -> source.getClassName() + "." + source.getMethodName())
                .orElseGet(test::getDisplayName);
    }
}
