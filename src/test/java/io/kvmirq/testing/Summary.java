/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.explain.Grade;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Prints what ran on what, and why that is not enough, from the rows that {@link SummaryListener} and
 * {@code scripts/native-test} wrote. The last line counts, and its number of failures is 0 exactly if the run succeeds.
 */
final class Summary {
    /** The number of slow classes that are named. */
    private static final int SLOWEST = 10;

    private final List<TestRow> tests;
    private final List<RuleRow> rules;
    private final List<ClassTime> times;
    private final Verdict verdict;
    /** This machine's kernel. */
    private final String here;

    private final PrintWriter out;

    private Summary(
            List<TestRow> tests,
            List<RuleRow> rules,
            List<ClassTime> times,
            Verdict verdict,
            String here,
            PrintWriter out) {
        this.tests = tests;
        this.rules = rules;
        this.times = times;
        this.verdict = verdict;
        this.here = here;
        this.out = out;
    }

    /** {@code scripts/test-summary} runs it: the directory of the rows, then the parts that failed outside of the tests. */
    public static void main(String[] arguments) throws IOException {
        PrintWriter out = new PrintWriter(System.out, true, StandardCharsets.UTF_8);
        Verdict.Here here =
                new Verdict.Here("1".equals(System.getenv("KVMIRQ_REQUIRE_KVM")), System.getProperty("os.version"));
        List<String> brokenParts = Arrays.asList(arguments).subList(1, arguments.length);
        System.exit(print(Path.of(arguments[0]), brokenParts, here, out));
    }

    /**
     * Prints the summary of the rows in a directory.
     *
     * @return the exit code: 0 if the run succeeds
     */
    static int print(Path directory, List<String> brokenParts, Verdict.Here here, PrintWriter out) throws IOException {
        List<TestRow> tests = new ArrayList<>();
        for (Path file : files(directory, ".tsv")) {
            Files.readAllLines(file).stream().map(TestRow::parse).forEach(tests::add);
        }
        if (tests.isEmpty()) {
            brokenParts.forEach(part -> out.println("failed: " + part));
            out.println("no test ran");
            return 1;
        }
        List<RuleRow> rules = new ArrayList<>();
        for (Path file : files(directory, ".rules")) {
            String run = file.getFileName().toString().replaceFirst("(@\\w+)?\\.rules$", "");
            Files.readAllLines(file).stream()
                    .map(line -> RuleRow.parse(run, line))
                    .forEach(rules::add);
        }
        List<ClassTime> times = new ArrayList<>();
        for (Path file : files(directory, ".seconds")) {
            Files.readAllLines(file).stream().map(ClassTime::parse).forEach(times::add);
        }
        Verdict verdict = Verdict.of(tests, rules, brokenParts, here);
        Summary summary = new Summary(tests, rules, times, verdict, here.kernelRelease(), out);
        summary.print();
        summary.writeGrades(directory.resolve("grades.txt"));
        return verdict.failures().isEmpty() ? 0 : 1;
    }

    private static List<Path> files(Path directory, String suffix) throws IOException {
        if (!Files.isDirectory(directory)) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(directory)) {
            return files.filter(file -> file.toString().endsWith(suffix))
                    .sorted()
                    .toList();
        }
    }

    private void print() {
        printContract();
        printRuns();
        tests.stream()
                .filter(test -> test.status() == TestRow.Status.SKIPPED)
                .collect(Collectors.groupingBy(
                        test -> test.reason().isEmpty() ? "no reason given" : test.reason(),
                        LinkedHashMap::new,
                        Collectors.counting()))
                .forEach((reason, count) -> line("skipped %d: %s", count, reason));
        printRules();
        printSlowest();
        verdict.remarks().forEach(out::println);
        verdict.failures().forEach(failure -> out.println("failed: " + failure));
        line(
                "%d passed, %d failed, %d skipped",
                count(tests, TestRow.Status.PASSED), verdict.failures().size(), count(tests, TestRow.Status.SKIPPED));
    }

    /**
     * The column of a row: a binding and its JDK, the fake in all profiles, or a kernel of the lab; empty for what is no
     * contract test, as other classes that run with several parameters.
     */
    private static String column(TestRow test) {
        boolean isContract = test.test().contains(".contract.") && !test.world().isEmpty();
        if (!isContract || test.run().equals("checked-jni") || (test.inLab() && test.onFake())) {
            return "";
        }
        return test.inLab()
                ? test.run().replaceFirst("^lab-", "")
                : (test.onFake() ? "fake" : test.world()) + " " + test.jdk();
    }

    private void printContract() {
        Map<String, Map<String, List<TestRow>>> areas = tests.stream()
                .filter(test -> !column(test).isEmpty())
                .collect(Collectors.groupingBy(
                        test -> test.test().replaceFirst("^.*contract\\.", "").replaceFirst("Contract\\..*$", ""),
                        LinkedHashMap::new,
                        Collectors.groupingBy(Summary::column)));
        if (areas.isEmpty()) {
            return;
        }
        Set<String> columns = tests.stream()
                .map(Summary::column)
                .filter(column -> !column.isEmpty())
                .collect(Collectors.toCollection(LinkedHashSet::new));
        String head = columns.stream().map(column -> right(column, column)).collect(Collectors.joining());
        line("%n%-12s%s   (passed, +skipped, !failed; binding and JDK, the fake in all profiles)", "contract", head);
        areas.forEach((area, cells) -> line(
                "%-12s%s",
                area,
                columns.stream()
                        .map(column -> right(column, cell(cells.getOrDefault(column, List.of()))))
                        .collect(Collectors.joining())));
    }

    /** A text at the right edge of a column. */
    private static String right(String column, String text) {
        return format(" %" + Math.max(9, column.length()) + "s", text);
    }

    private static String cell(List<TestRow> tests) {
        long skipped = count(tests, TestRow.Status.SKIPPED);
        long failed = count(tests, TestRow.Status.FAILED);
        return count(tests, TestRow.Status.PASSED)
                + (skipped == 0 ? "" : "+" + skipped)
                + (failed == 0 ? "" : "!" + failed);
    }

    private void printRuns() {
        line("%n%-18s %-10s %-12s %7s %7s %7s", "run", "JDK", "kernel", "passed", "failed", "skipped");
        tests.stream()
                .collect(Collectors.groupingBy(
                        test -> List.of(test.run(), test.jdk(), test.kernel()),
                        LinkedHashMap::new,
                        Collectors.toList()))
                .forEach((key, rows) -> line(
                        "%-18s %-10s %-12s %7d %7d %7d",
                        key.get(0),
                        key.get(1),
                        key.get(2),
                        count(rows, TestRow.Status.PASSED),
                        count(rows, TestRow.Status.FAILED),
                        count(rows, TestRow.Status.SKIPPED)));
    }

    private void printRules() {
        if (rules.isEmpty()) {
            return;
        }
        List<RuleRow> all = Verdict.distinct(rules);
        Set<String> leanedOn = Verdict.names(rules, RuleRow::leanedOn);
        String grades = Arrays.stream(Grade.values())
                .filter(grade -> grade != Grade.UNTESTED)
                .map(grade -> {
                    List<RuleRow> graded =
                            all.stream().filter(rule -> rule.grade() == grade).toList();
                    long count = graded.stream()
                            .filter(rule -> leanedOn.contains(rule.rule()))
                            .count();
                    return format("%s %d (%d)", grade.label(), graded.size(), count);
                })
                .collect(Collectors.joining(", "));
        line("%nrules of the fake: %d (leaned on by tests that ask a real kernel the same): %s", all.size(), grades);
        printKernels();
        all.stream()
                .filter(rule -> rule.grade() == Grade.INFERRED)
                .forEach(rule -> line("inferred: %s, %s", rule.rule(), rule.text()));
    }

    /** The kernel that showed a rule: of the lab, or this machine's. */
    private String kernel(RuleRow rule) {
        return rule.inLab() ? rule.run().replaceFirst("^lab-", "") : Verdict.isOfArm64(rule) ? "arm64-recorded" : here;
    }

    private void printKernels() {
        Map<String, List<RuleRow>> kernels = rules.stream()
                .filter(RuleRow::leanedOn)
                .collect(Collectors.groupingBy(this::kernel, LinkedHashMap::new, Collectors.toList()));
        kernels.forEach((kernel, seen) -> line(
                "  seen on %-16s %s",
                kernel,
                Verdict.distinct(seen).stream()
                        .collect(Collectors.groupingBy(RuleRow::grade, TreeMap::new, Collectors.counting()))
                        .entrySet()
                        .stream()
                        .map(grade -> grade.getKey().label() + " " + grade.getValue())
                        .collect(Collectors.joining(", "))));
    }

    /** A line for each rule: its name, its grade, and the kernels that showed it in this run. */
    private void writeGrades(Path file) throws IOException {
        Map<String, Set<String>> kernels = rules.stream()
                .filter(RuleRow::leanedOn)
                .collect(Collectors.groupingBy(
                        RuleRow::rule, Collectors.mapping(this::kernel, Collectors.toCollection(TreeSet::new))));
        Files.write(
                file,
                Verdict.distinct(rules).stream()
                        .map(rule -> (rule.rule() + " " + rule.grade().label() + " "
                                        + String.join(" ", kernels.getOrDefault(rule.rule(), Set.of())))
                                .strip())
                        .toList());
    }

    /** The seconds of a class in one run: a line of {@code RUN.seconds}. */
    private record ClassTime(String run, String type, double seconds) {
        static ClassTime parse(String line) {
            String[] cells = line.split("\t", -1);
            return new ClassTime(cells[0], cells[1], Double.parseDouble(cells[2]));
        }
    }

    private void printSlowest() {
        if (times.isEmpty()) {
            return;
        }
        line("%nslowest classes, seconds:");
        times.stream()
                .sorted(Comparator.comparingDouble(ClassTime::seconds).reversed())
                .limit(SLOWEST)
                .forEach(time -> line(
                        "%7.1f  %s (%s)", time.seconds(), time.type().replaceFirst("^io\\.kvmirq\\.", ""), time.run()));
    }

    private static long count(List<TestRow> tests, TestRow.Status status) {
        return tests.stream().filter(test -> test.status() == status).count();
    }

    private void line(String format, Object... arguments) {
        out.println(format(format, arguments));
    }

    private static String format(String format, Object... arguments) {
        return String.format(Locale.ROOT, format, arguments);
    }
}
