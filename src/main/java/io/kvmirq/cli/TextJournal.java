/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.kernel.Kernel;
import io.kvmirq.selftest.Journal;
import io.kvmirq.selftest.Result;
import io.kvmirq.selftest.Scenario;
import java.util.List;

/** A self-test as people read it, line by line while it runs. */
final class TextJournal implements Journal {
    private static final int ANSWER_COLUMN = 62;

    private final Terminal terminal;

    TextJournal(Terminal terminal, Kernel kernel) {
        this.terminal = terminal;
        terminal.out()
                .println("real kernel " + System.getProperty("os.version") + " through " + kernel.backendName() + " ("
                        + kernel.backendDescription() + ")");
    }

    @Override
    public void begin(Scenario scenario) {
        terminal.out().println();
        terminal.out().println(terminal.bold(padded(scenario.label(), 11)) + scenario.way());
    }

    @Override
    public void step(String done, String answer) {
        terminal.out().println("  " + padded(done, ANSWER_COLUMN) + " " + answer);
    }

    @Override
    public void end(Result result) {
        result.latency().ifPresent(latency -> step("round trip", text(latency)));
        String counts = "sent " + result.sent() + ", answered " + result.answered() + ", lost " + result.lost();
        String verdict = result.failure()
                .map(failure -> terminal.bad("FAIL") + "  " + failure)
                .orElse(terminal.good("PASS"));
        step(counts, verdict);
    }

    static void summary(List<Result> results, Terminal terminal) {
        long passed = results.stream().filter(Result::passed).count();
        terminal.out().println();
        terminal.out().println(passed + " of " + results.size() + " scenarios passed on the real kernel");
    }

    private static String text(Result.Latency latency) {
        return "min " + micros(latency.min()) + "  p50 " + micros(latency.p50()) + "  p90 " + micros(latency.p90())
                + "  p99 " + micros(latency.p99()) + "  max " + micros(latency.max()) + " µs";
    }

    private static String micros(long nanos) {
        return nanos / 1000 + "." + nanos % 1000 / 100;
    }

    private static String padded(String text, int width) {
        return text + " ".repeat(Math.max(0, width - text.codePointCount(0, text.length())));
    }
}
