/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import io.kvmirq.explain.ProcessLimit;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;

/**
 * A benchmark under way: how many rounds it runs, and where its rows go. {@code scripts/bench} sets both by properties:
 *
 * <p>{@code kvmirq.bench.rows} is the file that rows are added to; without it they are printed. {@code
 * kvmirq.bench.rounds} is the number of rounds; with it the warm-up is one round, so that a test sees all code run.
 */
public final class Bench {
    private static final String ROWS = "kvmirq.bench.rows";
    private static final String ROUNDS = "kvmirq.bench.rounds";

    private static final int FAILED = 1;
    private static final int COULD_NOT_RUN = 3;

    private final String name;
    private final String note;

    /** @param name as {@code make bench T=} has it */
    public Bench(String name) {
        this(name, "JDK " + Runtime.version().feature());
    }

    /** @param note what else distinguishes its rows; may be empty */
    public Bench(String name, String note) {
        this.name = name;
        this.note = note;
    }

    /**
     * From now on an exception that ends any thread ends the benchmark: another thread may wait for it for ever. Exit code 3
     * and one sentence for a limit of this process, else exit code 1 and the trace.
     */
    public static void endWithAnyThread() {
        Thread.setDefaultUncaughtExceptionHandler((thread, thrown) -> {
            Optional<String> limit = ProcessLimit.behind(thrown);
            limit.ifPresentOrElse(why -> System.err.println("could not run: " + why), thrown::printStackTrace);
            Runtime.getRuntime().halt(limit.isPresent() ? COULD_NOT_RUN : FAILED);
        });
    }

    /** A row's operation, and its goal. */
    public record Title(String operation, Goal goal) {}

    public int rounds(int usual) {
        return Integer.getInteger(ROUNDS, usual);
    }

    /** Rounds, or whatever else is repeated, before anything is measured. */
    public int warmUp(int usual) {
        return isBrief() ? 1 : usual;
    }

    /** Whether this run only shows that the benchmark works. */
    public boolean isBrief() {
        return Integer.getInteger(ROUNDS) != null;
    }

    /** Times the operations in nanoseconds, and adds a row of each. Those that were not calm are timed twice. */
    public <O extends Enum<O>> void measure(
            O[] operations,
            int usualRounds,
            ToDoubleFunction<O> ours,
            ToDoubleFunction<O> theirs,
            Function<O, Title> titles) {
        Map<O, Rounds> all = Rounds.calm(operations, rounds(usualRounds), ours, theirs);
        all.forEach((operation, rounds) -> add(titles.apply(operation), rounds));
    }

    /** Nanoseconds. */
    public void add(Title title, Rounds rounds) {
        add(title, "ns", rounds);
    }

    public void add(Title title, String unit, Rounds rounds) {
        add(new Row(name, title.operation(), note, unit, title.goal(), rounds));
    }

    private static void add(Row row) {
        String file = System.getProperty(ROWS);
        if (file == null) {
            System.out.println(row.name() + ": " + row.goal().text(row.ratio(), row.unit()) + ", goal "
                    + row.goal().text(row.unit()));
            return;
        }
        try {
            Files.writeString(Path.of(file), row.toJson() + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
