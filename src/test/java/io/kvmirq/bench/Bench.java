/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
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
