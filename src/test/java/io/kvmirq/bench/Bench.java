/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import io.kvmirq.explain.ProcessLimit;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.DoubleSupplier;
import java.util.function.IntToLongFunction;

/**
 * Comparisons of an operation of ours with the same of a reference, in one process. Each row is printed as a line of the
 * table that {@code scripts/bench} writes.
 *
 * <p>A round as a whole may be 1.6 times slower than the next, so the sides take turns: their ratio is taken within a round,
 * and the median of the rounds counts.
 */
public final class Bench {
    /** The number of rounds, after one of warm-up: the run only shows that the benchmark works. */
    private static final Integer BRIEF = Integer.getInteger("kvmirq.bench.rounds");

    /** A reference that varies more than this among rounds says that something else ran here. */
    private static final double CALM = 1.5;

    private static final double BATCH_NANOS = 1e6;
    private static final int PROBED = 1 << 14;

    private static final int FAILED = 1;
    private static final int COULD_NOT_RUN = 3;

    private final String name;

    /** @param name as {@code make bench T=} has it */
    public Bench(String name) {
        this.name = name;
    }

    /**
     * An operation of two sides. Each side returns the nanoseconds of one operation.
     *
     * @param max the ratio that is the goal; not a number if there is none
     */
    public record Row(String title, double max, DoubleSupplier ours, DoubleSupplier theirs) {
        /**
         * An operation of which a batch takes about a millisecond.
         *
         * @param unit operations that a batch has whole numbers of
         * @param ours runs so many, and returns the same as the other side: what it computed, or how many went wrong
         * @param theirs as ours
         */
        public static Row of(String title, double max, int unit, IntToLongFunction ours, IntToLongFunction theirs) {
            int probed = (PROBED / unit + 1) * unit;
            nanos(theirs, probed);
            int count = Math.max(1, (int) (BATCH_NANOS / nanos(theirs, probed) / unit)) * unit;
            if (ours.applyAsLong(count) != theirs.applyAsLong(count)) {
                throw new IllegalStateException(title + ": the two sides do not answer the same");
            }
            return new Row(title, max, () -> nanos(ours, count), () -> nanos(theirs, count));
        }

        private static double nanos(IntToLongFunction side, int count) {
            long start = System.nanoTime();
            answer = side.applyAsLong(count);
            return (double) (System.nanoTime() - start) / count;
        }
    }

    /** So that the JVM computes it. */
    @SuppressWarnings("unused")
    private static volatile long answer;

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

    /** The number of repetitions of what is not measured; 1 in a brief run. */
    public static int warmUp(int usual) {
        return BRIEF == null ? usual : 1;
    }

    /** Measures rows after a warm-up, those that were not calm once more, and prints them. */
    public void measure(int warmUp, int rounds, List<Row> rows) {
        ratios(warmUp(warmUp), rows);
        int times = BRIEF == null ? rounds : BRIEF;
        double[][][] all = ratios(times, rows);
        for (int i = 0; i < rows.size(); i++) {
            boolean isCalm = spread(all[i][1]) <= CALM;
            double[][] both = isCalm ? all[i] : ratios(times, List.of(rows.get(i)))[0];
            System.out.println(line(rows.get(i), both[0], both[1]));
        }
    }

    /** The nanoseconds of our side and of the other one, by row and side. Who comes first changes from round to round. */
    private static double[][][] ratios(int times, List<Row> rows) {
        double[][][] all = new double[rows.size()][2][times];
        for (int turn = 0; turn < times; turn++) {
            for (int i = 0; i < rows.size(); i++) {
                int which = (turn + i) % rows.size();
                Row row = rows.get(which);
                double theirs = turn % 2 == 0 ? Double.NaN : row.theirs.getAsDouble();
                all[which][0][turn] = row.ours.getAsDouble();
                all[which][1][turn] = turn % 2 == 0 ? row.theirs.getAsDouble() : theirs;
            }
        }
        return all;
    }

    /** A row of the table: name, median of the ratios, their spread, ratio of the quickest tenths, goal. */
    String line(Row row, double[] ours, double[] theirs) {
        double[] ratios = new double[ours.length];
        Arrays.setAll(ratios, i -> ours[i] / theirs[i]);
        double ratio = percentile(ratios, 50);
        String goal = Double.isNaN(row.max)
                ? ""
                : String.format(Locale.ROOT, "≤ %.2f %s", row.max, ratio <= row.max ? "met" : "missed");
        return String.format(
                Locale.ROOT,
                "| %s: %s, JDK %d | %.3f | %.2f | %.3f | %s%s |",
                name,
                row.title,
                Runtime.version().feature(),
                ratio,
                spread(ratios),
                percentile(ours, 10) / percentile(theirs, 10),
                goal,
                spread(theirs) <= CALM ? "" : " not calm");
    }

    private static double spread(double[] samples) {
        return percentile(samples, 90) / percentile(samples, 10);
    }

    private static double percentile(double[] samples, int percentile) {
        double[] sorted = samples.clone();
        Arrays.sort(sorted);
        return sorted[(sorted.length - 1) * percentile / 100];
    }
}
