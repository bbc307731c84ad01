/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import org.opentest4j.TestAbortedException;

/**
 * A search for a random program that fails. The first one is run again without some of its steps, and with zeros or halves in
 * place of numbers, as long as it fails in the same way. The report has the steps that are left, the seed, and a line to paste into a
 * test. With {@code -Dkvmirq.test.seed=N} ({@code make try T=… SEED=N}) only that program runs, and if it passes, the test is
 * aborted, because what it asserts of all programs does not hold for one.
 */
public final class Search {
    /** A program of steps, which it notes. It fails with an exception or an AssertionError. */
    public interface Program {
        void run(Choices choices) throws Exception;
    }

    /** Runs of a failing program, at most; a run of the lab takes seconds. */
    private static final int RUNS = 3_000;

    private static final long MOST_NANOS = TimeUnit.MINUTES.toNanos(1);

    private final Program program;
    private final String kind;
    private final long start;
    private List<long[]> parts;
    private List<String> notes;
    private Throwable failure;
    private int runs;

    /** @param start when the program began: one that hung until JUnit interrupted it is not run again */
    private Search(Program program, Choices choices, Throwable failure, long start) {
        this.program = program;
        this.start = start;
        this.parts = choices.parts();
        this.notes = choices.notes();
        this.failure = failure;
        kind = kind(failure);
    }

    /**
     * Runs the programs of so many seeds.
     *
     * @throws AssertionError if one fails: after fewest steps, in words and to paste
     */
    public static void run(String name, long first, long count, Program program) {
        run(name, first, count, program, failure -> {
            throw failure;
        });
    }

    /** The same, but hands over each failure, and goes on if that returns true. */
    public static void run(String name, long first, long count, Program program, Predicate<AssertionError> goesOn) {
        long begin = only().orElse(first);
        long end = only().isPresent() ? begin + 1 : first + count;
        boolean going = true;
        boolean passes = true;
        for (long seed = begin; seed < end && going; seed++) {
            Choices choices = Choices.of(seed);
            long start = System.nanoTime();
            Throwable failure = failure(program, choices);
            passes &= failure == null;
            going = failure == null || goesOn.test(new Search(program, choices, failure, start).shrink(name, seed));
        }
        if (only().isPresent() && passes) {
            throw new TestAbortedException(name + ": the program of SEED=" + begin + " passes");
        }
    }

    /** The only program to run. */
    public static OptionalLong only() {
        Long seed = Long.getLong("kvmirq.test.seed");
        return seed == null ? OptionalLong.empty() : OptionalLong.of(seed);
    }

    /** Aborts a test that needs more than the program of a seed. */
    public static void assumeAllRun() {
        assumeTrue(only().isEmpty(), "only the program of one seed runs");
    }

    /** Runs a program that a report printed. */
    public static void again(String choices, Program program) throws Exception {
        program.run(Choices.again(Choices.parse(choices)));
    }

    private static @Nullable Throwable failure(Program program, Choices choices) {
        try {
            program.run(choices);
            return null;
        } catch (Exception | AssertionError e) {
            return e;
        }
    }

    /** The failure and its place, or its message if it has none: another failure would hide this one. */
    private static String kind(Throwable thrown) {
        Throwable failure = thrown;
        while (failure.getCause() != null) { // a search that adds its steps wraps it
            failure = failure.getCause();
        }
        for (StackTraceElement frame : failure.getStackTrace()) {
            if (frame.getClassName().startsWith("io.kvmirq.")) {
                return failure.getClass() + " " + frame.getClassName() + "." + frame.getMethodName();
            }
        }
        return failure.toString();
    }

    /** A command that runs all steps of a program: of the test that searches, or of the main class. */
    private static String command(long seed) {
        String outermost = StackWalker.getInstance()
                .walk(frames -> frames.map(StackWalker.StackFrame::getClassName)
                        .filter(name -> name.matches("io\\.kvmirq\\..*(Test|Contract|Report)"))
                        .reduce((inner, outer) -> outer))
                .orElse("…Test");
        return outermost.endsWith("Report")
                ? "scripts/search " + outermost.substring("io.kvmirq.".length()) + " 1 " + seed
                : "make try T=" + outermost.substring(outermost.lastIndexOf('.') + 1) + " SEED=" + seed;
    }

    private AssertionError shrink(String name, long seed) {
        int steps = parts.size() - 2;
        boolean repeats = fails(parts);
        if (repeats) {
            for (int size = Math.max(1, steps / 2); size > 0; size /= 2) {
                without(size);
            }
            smaller();
            without(1);
        }
        return new AssertionError(
                name + ", seed " + seed + ", " + (parts.size() - 2) + " of " + steps + " steps"
                        + (repeats ? "" : " (it took too long, or does not fail a second time)") + ": "
                        + failure.getMessage()
                        + (notes.isEmpty() ? "" : "\nsteps: " + String.join(", ", notes))
                        + "\nto run it again: Search.again(\"" + Choices.text(parts) + "\", …)"
                        + "\nto run all its steps: " + command(seed),
                failure);
    }

    /** Whether a program fails in the same way; then it replaces the one that is kept. */
    private boolean fails(List<long[]> candidate) {
        if (++runs > RUNS || System.nanoTime() - start > MOST_NANOS) {
            return false;
        }
        Choices choices = Choices.again(candidate);
        Throwable found = failure(program, choices);
        if (found == null || !kind(found).equals(kind)) {
            return false;
        }
        parts = choices.parts();
        notes = choices.notes();
        failure = found;
        return true;
    }

    /** Tries to do without each run of so many steps, the last one first. */
    private void without(int size) {
        for (int from = parts.size() - 1 - size; from >= 1; from = Math.min(from, parts.size() - 1) - size) {
            List<long[]> candidate = new ArrayList<>(parts);
            candidate.subList(from, from + size).clear();
            fails(candidate);
        }
    }

    /** Tries 0 in place of each number, then half of it for as long as that fails. */
    private void smaller() {
        for (int part = 0; part < parts.size(); part++) {
            for (int at = 0; part < parts.size() && at < parts.get(part).length; at++) {
                long number = parts.get(part)[at];
                if (number != 0 && !fails(part, at, 0)) {
                    while (Long.compareUnsigned(number, 1) > 0 && fails(part, at, number >>> 1)) {
                        number >>>= 1;
                    }
                }
            }
        }
    }

    private boolean fails(int part, int at, long number) {
        List<long[]> candidate = new ArrayList<>(parts);
        if (part >= candidate.size() || at >= candidate.get(part).length) {
            return false;
        }
        candidate.set(part, candidate.get(part).clone());
        candidate.get(part)[at] = number;
        return fails(candidate);
    }
}
