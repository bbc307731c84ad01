/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestTag;
import org.junit.platform.engine.support.descriptor.ClassSource;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;

/**
 * Tells what runs on which kernel: a line for each class, and each failure at once. Each JVM of a run also writes three
 * files into the directory {@code kvmirq.test.summary}. {@code RUN@PID.tsv} has a row for each test, {@code RUN@PID.seconds}
 * a line when a class begins and one when it ends, and {@code RUN@PID.rules} the rules of the fake that were seen
 * ({@link RulesSeen}). {@link Summary} prints them.
 */
public final class SummaryListener implements TestExecutionListener {
    private static final String RUN = System.getProperty("kvmirq.test.run", "tests");
    private static final @Nullable String DIRECTORY = System.getProperty("kvmirq.test.summary");
    private static final String JDK = System.getProperty("java.specification.version");

    /** At most so many causes of a failure are written. */
    private static final int CAUSES = 4;

    private @Nullable TestPlan plan;

    // State of the running class
    private long began;
    private long openBefore;
    private final Map<String, Integer> counts = new TreeMap<>();

    private final Map<String, Integer> total = new TreeMap<>(Map.of("passed", 0, "failed", 0, "skipped", 0));

    @Override
    public void testPlanExecutionStarted(TestPlan started) {
        plan = started;
    }

    @Override
    public void executionStarted(TestIdentifier test) {
        if (isClass(test)) {
            began = System.nanoTime();
            counts.clear();
            openBefore = Machine.openFds();
            write(".seconds", RUN + "\t" + name(test) + "\n", StandardOpenOption.APPEND);
        }
    }

    @Override
    public void executionSkipped(TestIdentifier test, String reason) {
        Set<TestIdentifier> children = plan == null ? Set.of() : plan.getChildren(test);
        if (test.isTest() || children.isEmpty()) { // a parameterised test has no children yet
            row(test, "skipped", reason);
        }
        children.forEach(child -> executionSkipped(child, reason));
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
        switch (result.getStatus()) {
            case SUCCESSFUL -> {
                if (test.isTest()) {
                    row(test, "passed", "");
                }
            }
            case ABORTED ->
                row(
                        test,
                        "skipped",
                        result.getThrowable().map(Throwable::getMessage).orElse(""));
            case FAILED -> {
                row(
                        test,
                        "failed",
                        result.getThrowable().map(SummaryListener::failure).orElse(""));
                StringWriter stack = new StringWriter();
                result.getThrowable().ifPresent(thrown -> thrown.printStackTrace(new PrintWriter(stack)));
                System.out.println("FAILED " + name(test) + " " + test.getDisplayName() + " " + world(test));
                System.out.print(stack.toString().indent(4));
            }
        }
        if (isClass(test)) {
            long left = Machine.openFds() - openBefore;
            if (left > 0) {
                String reason = "leaves " + left + " descriptors open, which later tests find";
                row(test, "failed", reason);
                System.out.println("FAILED " + name(test) + " " + reason);
            }
            String seconds = String.format(Locale.ROOT, "%.1f", (System.nanoTime() - began) / 1e9);
            write(".seconds", String.join("\t", RUN, name(test), seconds) + "\n", StandardOpenOption.APPEND);
            String counted = counts.entrySet().stream()
                    .map(count -> count.getValue() + " " + count.getKey())
                    .collect(Collectors.joining(", "));
            System.out.println(seconds + " s  " + name(test).replace("io.kvmirq.", "") + ": " + counted);
        }
    }

    /** Surefire has a plan for each class: the last one writes the final rules of this process. */
    @Override
    public void testPlanExecutionFinished(TestPlan finished) {
        System.out.println(total.get("passed") + " passed, " + total.get("failed") + " failed, " + total.get("skipped")
                + " skipped");
        List<RuleRow> rules = RulesSeen.rows(RUN);
        if (!rules.isEmpty()) {
            String lines = rules.stream().map(rule -> rule.line() + "\n").collect(Collectors.joining());
            write(".rules", lines, StandardOpenOption.TRUNCATE_EXISTING);
        }
    }

    private static boolean isClass(TestIdentifier test) {
        return test.getUniqueIdObject().getSegments().size() == 2;
    }

    /** An exception and its causes, each with its message and our line that threw it. */
    static String failure(Throwable thrown) {
        return Stream.iterate(thrown, next -> next != null, Throwable::getCause)
                .limit(CAUSES)
                .map(next -> next
                        + Arrays.stream(next.getStackTrace())
                                .filter(frame -> frame.getClassName().startsWith("io.kvmirq."))
                                .findFirst()
                                .map(frame -> " at " + frame.getFileName() + ":" + frame.getLineNumber())
                                .orElse(""))
                .collect(Collectors.joining("; by "));
    }

    private void row(TestIdentifier test, String status, String reason) {
        String world = world(test);
        String kernel =
                world.startsWith("fake") ? "fake" : world.isEmpty() && !onRealKvm(test) ? "none" : Summary.REAL_KVM;
        String line = String.join("\t", RUN, JDK, kernel, status, name(test), reason.replaceAll("\\s+", " "), world);
        write(".tsv", line + "\n", StandardOpenOption.APPEND);
        counts.merge(status, 1, Integer::sum);
        total.merge(status, 1, Integer::sum);
    }

    private static void write(String suffix, String text, OpenOption option) {
        if (DIRECTORY == null) {
            return;
        }
        try {
            // A machine of the lab has one JVM.
            String process = RUN.startsWith("lab-")
                    ? RUN
                    : RUN + "@" + ProcessHandle.current().pid();
            Path file = Files.createDirectories(Path.of(DIRECTORY)).resolve(process + suffix);
            Files.writeString(file, text, StandardOpenOption.CREATE, StandardOpenOption.WRITE, option);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Through what a contract test asks the kernel: the name of its class's invocation; empty for other tests. */
    private String world(TestIdentifier test) {
        return test.getUniqueIdObject().getLastSegment().getType().equals("class-template-invocation")
                ? test.getDisplayName().replaceAll("^\\[\\d+] ", "")
                : parent(test).map(this::world).orElse("");
    }

    private boolean onRealKvm(TestIdentifier test) {
        return test.getTags().contains(TestTag.create(RealKvm.TAG))
                || parent(test).filter(this::onRealKvm).isPresent();
    }

    private Optional<TestIdentifier> parent(TestIdentifier test) {
        return plan == null ? Optional.empty() : plan.getParent(test);
    }

    private static String name(TestIdentifier test) {
        return test.getSource()
                .map(source -> source instanceof MethodSource method
                        ? method.getClassName() + "." + method.getMethodName()
                        : source instanceof ClassSource type ? type.getClassName() : null)
                .orElseGet(test::getDisplayName);
    }
}
