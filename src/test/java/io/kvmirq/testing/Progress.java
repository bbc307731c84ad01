/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.io.PrintStream;
import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;

/**
 * Prints how far the tests are: a line for each class with its seconds, and each failure at once. When the tests are
 * stalled ({@link Stall}), it prints the stacks of all threads and the child processes, and ends the process: rows that
 * are written stay in the summary.
 */
final class Progress implements TestExecutionListener {
    /** How often a long class says where it is. */
    private static final long BEAT = TimeUnit.SECONDS.toNanos(60);

    /** The longest time between two looks at the processor time. */
    private static final long LOOK = TimeUnit.SECONDS.toNanos(20);

    /** Seconds of a test from which on the line of its class names it. */
    private static final double SLOW = 1;

    private final PrintStream out;
    private final Stall stall;
    private final long look;

    // Guarded by this.
    private int events;
    private String current = "no test yet";
    private boolean running;
    private long spoken = System.nanoTime();

    // Of the thread that runs the tests.
    private String type = "";
    private long since;
    private int passed;
    private int failed;
    private int skipped;
    private int ran;
    private boolean anyFailed;
    private long started;
    private String slowest = "";
    private double slowestSeconds;
    private @Nullable TestPlan plan;

    Progress(PrintStream out, int seconds) {
        this.out = out;
        stall = new Stall(Duration.ofSeconds(seconds));
        look = Math.min(LOOK, TimeUnit.SECONDS.toNanos(seconds));
    }

    /** Starts the thread that ends a process without progress. */
    void watch() {
        Thread watch = new Thread(this::endIfStalled, "watch of the tests");
        watch.setDaemon(true);
        watch.start();
    }

    private void endIfStalled() {
        String why;
        try {
            why = waitForStall();
        } catch (InterruptedException e) {
            return;
        }
        String stalled = current();
        out.println("stalled: " + stalled + " " + why + ". The stacks of all threads:");
        for (Map.Entry<Thread, StackTraceElement[]> thread :
                Thread.getAllStackTraces().entrySet()) {
            out.println(thread.getKey().getName() + " (" + thread.getKey().getState() + ")");
            for (StackTraceElement frame : thread.getValue()) {
                out.println("    at " + frame);
            }
        }
        ProcessHandle.current()
                .descendants()
                .forEach(child -> out.println("child " + child.pid() + " "
                        + child.info().commandLine().orElse("")));
        SummaryListener.stalled(stalled);
        out.flush();
        Runtime.getRuntime().halt(3);
    }

    /** Returns why the tests are stalled, once they are. */
    private String waitForStall() throws InterruptedException {
        while (true) {
            int seen = await();
            Optional<String> why = stall.look(System.nanoTime(), TreeTime.nanos(ProcessHandle.current()), seen);
            if (why.isPresent()) {
                return why.get();
            }
        }
    }

    /** Waits until it is time to look and tests run. Returns the events until then. */
    private synchronized int await() throws InterruptedException {
        do {
            TimeUnit.NANOSECONDS.timedWait(this, look);
            if (running && System.nanoTime() - spoken >= BEAT) {
                spoken = System.nanoTime();
                out.println("   still at " + current);
            }
        } while (!running);
        return events;
    }

    private synchronized String current() {
        return current;
    }

    /** A class begins. */
    void of(String name) {
        type = name;
        since = System.nanoTime();
        passed = 0;
        failed = 0;
        skipped = 0;
        slowestSeconds = 0;
        advance(name, true);
    }

    /** A class ended. */
    void end() {
        advance(type, false);
        if (passed + failed + skipped > 0) {
            double seconds = (System.nanoTime() - since) / 1e9;
            out.println(Tests.line(seconds, type.replaceFirst("^io\\.kvmirq\\.", ""), passed, failed, skipped)
                    + (slowestSeconds < SLOW
                            ? ""
                            : String.format(Locale.ROOT, ", %.1f s of them %s", slowestSeconds, slowest)));
            SummaryListener.seconds(type, seconds);
        }
    }

    private synchronized void advance(String name, boolean runs) {
        events++;
        current = name;
        if (!runs || !running) {
            spoken = System.nanoTime();
        }
        running = runs;
    }

    boolean anyFailed() {
        return anyFailed;
    }

    /** Whether a test ran and none failed. */
    boolean succeeded() {
        return ran > 0 && !anyFailed;
    }

    @Override
    public void testPlanExecutionStarted(TestPlan started) {
        plan = started;
    }

    @Override
    public void executionStarted(TestIdentifier test) {
        started = System.nanoTime();
        advance(SummaryListener.name(test), true);
    }

    @Override
    public void executionSkipped(TestIdentifier test, String reason) {
        skipped++;
        ran++;
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
        advance(SummaryListener.name(test), true);
        double seconds = (System.nanoTime() - started) / 1e9;
        if (test.isTest() && seconds > slowestSeconds) {
            slowest = SummaryListener.name(test).replaceFirst(".*\\.", "");
            slowestSeconds = seconds;
        }
        switch (result.getStatus()) {
            case SUCCESSFUL -> {
                if (test.isTest()) {
                    passed++;
                    ran++;
                }
            }
            case ABORTED -> {
                skipped++;
                ran++;
            }
            case FAILED -> {
                failed++;
                ran++;
                anyFailed = true;
                String world = SummaryListener.world(plan, test);
                out.println("FAILED " + SummaryListener.name(test) + " " + test.getDisplayName()
                        + (world.isEmpty() ? "" : " on " + world));
                result.getThrowable().ifPresent(this::print);
            }
        }
    }

    /** A stack trace without the frames of JUnit and of reflection. */
    private void print(Throwable thrown) {
        out.println("    " + String.valueOf(thrown).replace("\n", "\n    "));
        for (StackTraceElement frame : thrown.getStackTrace()) {
            if (!frame.getClassName().matches("(org\\.junit|java\\.|jdk\\.).*")) {
                out.println("        at " + frame);
            }
        }
        if (thrown.getCause() != null) {
            out.println("    caused by");
            print(thrown.getCause());
        }
    }
}
