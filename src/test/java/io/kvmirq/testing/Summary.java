/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static java.util.stream.Collectors.counting;
import static java.util.stream.Collectors.groupingBy;
import static java.util.stream.Collectors.joining;
import static java.util.stream.Collectors.toList;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Function;

/** Prints what ran on which kernel, and why that is not enough, from what {@link SummaryListener} wrote. */
final class Summary {
    static final String REAL_KVM = "real KVM";

    /** Seconds of a class from which on it is named. */
    private static final double SLOW = 20;

    /** A failure's reason is printed up to so many characters. */
    private static final int REASON = 600;

    /**
     * One test of one run.
     *
     * @param kernel what answered the test: {@link #REAL_KVM}, "fake" or "none"
     * @param status "passed", "failed" or "skipped"
     * @param reason why it was skipped or failed; may be empty
     * @param world the binding or the profile of the fake through which a contract test asks; empty for other tests
     */
    record Row(String run, String jdk, String kernel, String status, String test, String reason, String world) {
        static Row parse(String line) {
            String[] cells = line.split("\t", -1);
            return new Row(cells[0], cells[1], cells[2], cells[3], cells[4], cells[5], cells[6]);
        }

        /** Irqfd of IrqfdContract. */
        String area() {
            return test.replaceFirst("^.*contract\\.", "").replaceFirst("Contract\\..*$", "");
        }

        boolean inLab() {
            return run.startsWith("lab-");
        }

        /** Whether the test passed on a real KVM: this machine's, or in the lab that of the lab's kernel. */
        boolean showsKvm() {
            return status.equals("passed") && kernel.equals(REAL_KVM);
        }

        /**
         * Column in the table of contracts: a binding and its JDK, the fake in all profiles, or a lab kernel; empty for
         * other classes that run with several parameters.
         */
        String column() {
            boolean fake = world.startsWith("fake");
            if (!test.contains(".contract.") || world.isEmpty() || run.equals("checked-jni") || (inLab() && fake)) {
                return "";
            }
            return inLab() ? run.substring("lab-".length()) : (fake ? "fake" : world) + " " + jdk;
        }
    }

    private Summary() {}

    /** Prints what ran: {@code main DIRECTORY [PART...]}, with the parts that failed outside of the tests. */
    public static void main(String[] arguments) throws IOException {
        PrintWriter out = new PrintWriter(System.out, true, StandardCharsets.UTF_8);
        List<String> parts = Arrays.asList(arguments).subList(1, arguments.length);
        boolean kvmRequired = "1".equals(System.getenv("KVMIRQ_REQUIRE_KVM"));
        System.exit(print(Path.of(arguments[0]), parts, kvmRequired, System.getProperty("os.version"), out) ? 0 : 1);
    }

    /**
     * Prints what ran on what, and why that is not enough. The last line counts, and its number of failures is 0 exactly
     * if the run succeeds.
     *
     * @param kvmRequired whether a run without a test on this machine's KVM fails
     * @param release of the running kernel, such as 6.18.44
     * @return whether the run succeeds
     */
    static boolean print(Path directory, List<String> parts, boolean kvmRequired, String release, PrintWriter out)
            throws IOException {
        List<Row> rows = lines(directory, ".tsv").values().stream()
                .flatMap(List::stream)
                .map(Row::parse)
                .toList();
        if (rows.isEmpty()) {
            parts.forEach(part -> out.println("failed: " + part));
            out.println("no test ran");
            return false;
        }
        // A line for each area of the contract, a column for each binding, profile and kernel of the lab.
        List<Row> contract =
                rows.stream().filter(row -> !row.column().isEmpty()).toList();
        Set<String> columns = by(contract, Row::column).keySet();
        if (!contract.isEmpty()) {
            line(
                    out,
                    "%n%-12s%s   (passed, +skipped, !failed; binding and JDK, the fake in all profiles)",
                    "contract",
                    columns.stream().map(column -> right(column, column)).collect(joining()));
        }
        by(contract, Row::area).forEach((area, ofArea) -> {
            Map<String, List<Row>> cells = by(ofArea, Row::column);
            line(
                    out,
                    "%-12s%s",
                    area,
                    columns.stream()
                            .map(column -> right(column, cell(cells.getOrDefault(column, List.of()))))
                            .collect(joining()));
        });
        line(out, "%n%-18s %-10s %-12s %7s %7s %7s", "run", "JDK", "kernel", "passed", "failed", "skipped");
        by(rows, row -> format("%-18s %-10s %-12s", row.run(), row.jdk(), row.kernel()))
                .forEach((head, ofHead) -> line(
                        out,
                        "%s %7d %7d %7d",
                        head,
                        count(ofHead, "passed"),
                        count(ofHead, "failed"),
                        count(ofHead, "skipped")));
        by(rows.stream().filter(row -> row.status().equals("skipped")).toList(), Row::reason)
                .forEach((reason, skipped) ->
                        line(out, "skipped %d: %s", skipped.size(), reason.isEmpty() ? "no reason given" : reason));
        List<String> failures = new ArrayList<>(parts);
        RuleRow.judge(lines(directory, ".rules"), rows, release, out, failures);
        judge(rows, lines(directory, ".seconds"), kvmRequired, out, failures);
        failures.forEach(failure -> out.println("failed: " + failure));
        line(out, "%d passed, %d failed, %d skipped", count(rows, "passed"), failures.size(), count(rows, "skipped"));
        return failures.isEmpty();
    }

    private static void judge(
            List<Row> rows,
            Map<String, List<String>> times,
            boolean kvmRequired,
            PrintWriter out,
            List<String> failures) {
        rows.stream()
                .filter(row -> row.status().equals("failed"))
                .forEach(row -> failures.add(row.test() + " (" + row.run()
                        + (row.world().isEmpty() ? "" : ", " + row.world()) + ", JDK " + row.jdk()
                        + ")" + (row.reason().isEmpty() ? "" : ": ")
                        + row.reason()
                                .substring(0, Math.min(REASON, row.reason().length()))));
        times.forEach((process, lines) -> {
            Map<String, Long> classes =
                    lines.stream().collect(groupingBy(line -> line.split("\t")[1], LinkedHashMap::new, counting()));
            classes.forEach((type, count) -> {
                if (count % 2 == 1) {
                    failures.add(type + " began and did not end: its JVM, " + process + ", is gone");
                }
            });
            lines.stream()
                    .map(line -> line.split("\t"))
                    .filter(cells -> cells.length > 2 && Double.parseDouble(cells[2]) >= SLOW)
                    .forEach(cells -> line(out, "%s took %s s (%s)", cells[1], cells[2], cells[0]));
        });
        if (count(rows, "passed") == 0) {
            failures.add("no test passed");
        }
        if (rows.stream().anyMatch(row -> !row.inLab()) && !showsKvm(rows)) {
            if (kvmRequired) {
                failures.add("no test passed on the real KVM, which KVMIRQ_REQUIRE_KVM=1 demands");
            } else {
                out.println("no test passed on this machine's KVM; KVMIRQ_REQUIRE_KVM=1 makes that a failure");
            }
        }
        by(rows.stream().filter(Row::inLab).toList(), Row::run).forEach((run, ofRun) -> {
            if (ofRun.stream().noneMatch(Row::showsKvm)) {
                failures.add(run + " has no KVM: no test passed on it");
            }
        });
    }

    /** Whether a test passed on this machine's KVM. Without KVM the tests of eventfds pass through the bindings, too. */
    static boolean showsKvm(List<Row> rows) {
        return rows.stream().noneMatch(row -> !row.inLab() && row.reason().contains(Machine.NO_KVM))
                && rows.stream().anyMatch(row -> !row.inLab() && row.showsKvm());
    }

    /** The lines of the files of a kind, by the name of the process, in the order of the names. */
    private static Map<String, List<String>> lines(Path directory, String suffix) throws IOException {
        Map<String, List<String>> lines = new TreeMap<>();
        if (Files.isDirectory(directory)) {
            try (DirectoryStream<Path> files = Files.newDirectoryStream(directory, "*" + suffix)) {
                for (Path file : files) {
                    lines.put(file.getFileName().toString().replace(suffix, ""), Files.readAllLines(file));
                }
            }
        }
        return lines;
    }

    private static Map<String, List<Row>> by(List<Row> rows, Function<Row, String> key) {
        return rows.stream().collect(groupingBy(key, LinkedHashMap::new, toList()));
    }

    private static long count(List<Row> rows, String status) {
        return rows.stream().filter(row -> row.status().equals(status)).count();
    }

    private static String cell(List<Row> rows) {
        long skipped = count(rows, "skipped");
        long failed = count(rows, "failed");
        return count(rows, "passed") + (skipped == 0 ? "" : "+" + skipped) + (failed == 0 ? "" : "!" + failed);
    }

    /** A text at the right edge of a column. */
    private static String right(String column, String text) {
        return format(" %" + Math.max(9, column.length()) + "s", text);
    }

    private static void line(PrintWriter out, String format, Object... arguments) {
        out.println(format(format, arguments));
    }

    private static String format(String format, Object... arguments) {
        return String.format(Locale.ROOT, format, arguments);
    }
}
