/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import io.kvmirq.explain.ProcessLimit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.Options;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;

/**
 * Comparisons of JMH benchmarks, in one process: a method of ours and one of a reference. Each row is printed as a line of
 * the table that {@code scripts/bench} writes.
 *
 * <p>A round as a whole may be 1.6 times slower than the next, so the methods take turns: JMH measures one iteration of each,
 * their ratio is taken within a round, and the median of the rounds counts. Forks would separate the methods by seconds.
 */
public final class Bench {
    /** The number of rounds, without warm-up: the run only shows that the benchmark works. */
    private static final Integer BRIEF = Integer.getInteger("kvmirq.bench.rounds");

    /** A reference that varies more than this among rounds says that something else ran here. */
    private static final double CALM = 1.5;

    private static final int TURN_MILLIS = 2;

    private static final int FAILED = 1;
    private static final int COULD_NOT_RUN = 3;

    private final String name;
    private final Class<?> benchmarks;

    /** @param name as {@code make bench T=} has it */
    public Bench(String name, Class<?> benchmarks) {
        this.name = name;
        this.benchmarks = benchmarks;
    }

    /**
     * Two benchmark methods, by name.
     *
     * @param max the ratio that is the goal; not a number if there is none
     */
    public record Row(String title, double max, String ours, String theirs) {}

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

    /** Runs each method for a time. */
    public void warm(int millis, List<Row> rows) {
        methods(rows).forEach(method -> nanos(method, warmUp(millis)));
    }

    /** Measures rows, those that were not calm once more, and prints them. */
    public void measure(int rounds, List<Row> rows) {
        Map<String, double[]> all = rounds(rounds, methods(rows));
        for (Row row : rows) {
            boolean isCalm = spread(all.get(row.theirs)) <= CALM;
            Map<String, double[]> both = isCalm ? all : rounds(rounds, methods(List.of(row)));
            System.out.println(line(row, both.get(row.ours), both.get(row.theirs)));
        }
    }

    private static Set<String> methods(List<Row> rows) {
        Set<String> methods = new LinkedHashSet<>();
        rows.forEach(row -> Collections.addAll(methods, row.ours, row.theirs));
        return methods;
    }

    /** The nanoseconds of an operation of each method, by round. Who comes first changes from round to round. */
    private Map<String, double[]> rounds(int usual, Collection<String> methods) {
        int rounds = BRIEF == null ? usual : BRIEF;
        Map<String, double[]> nanos = new LinkedHashMap<>();
        methods.forEach(method -> nanos.put(method, new double[rounds]));
        List<String> order = new ArrayList<>(methods);
        for (int i = 0; i < rounds; i++) {
            for (String method : order) {
                nanos.get(method)[i] = nanos(method, TURN_MILLIS);
            }
            Collections.rotate(order, 1);
        }
        return nanos;
    }

    /** One iteration: its mean, or its median if JMH samples. */
    private double nanos(String method, int millis) {
        Options options = new OptionsBuilder()
                .include(Pattern.quote(benchmarks.getName() + "." + method) + "$")
                .forks(0)
                .warmupIterations(0)
                .measurementIterations(1)
                .measurementTime(TimeValue.milliseconds(millis))
                .timeUnit(TimeUnit.NANOSECONDS)
                .shouldFailOnError(true)
                .verbosity(VerboseMode.SILENT)
                .build();
        try {
            return new Runner(options)
                    .runSingle()
                    .getPrimaryResult()
                    .getStatistics()
                    .getPercentile(50);
        } catch (RunnerException e) {
            throw new IllegalStateException(method + " failed", e);
        }
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
