/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static java.util.stream.Collectors.groupingBy;
import static java.util.stream.Collectors.joining;
import static java.util.stream.Collectors.toList;
import static java.util.stream.Collectors.toSet;

import io.kvmirq.explain.Grade;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * One rule of the fake in one run: a line of {@code target/summary/RUN@PID.rules}.
 *
 * @param run the name of the file, not a cell of the line
 * @param status how the tests of the run leaned on the rule
 */
record RuleRow(String run, String rule, Grade grade, Status status, String text) {
    /** The rule that only the C program shows, because it needs a second process and no JVM forks. */
    static final String SHOWN_BY_C = "FOREIGN_PROCESS";

    /** The run of {@code scripts/native-test}, which {@code make check} leaves out. */
    static final String C_PROGRAM = "native";

    enum Status {
        /** A test leaned on the rule and asked a real kernel the same. */
        SEEN,
        /** Only random calls did: other seeds may miss the rule. */
        SEARCHED,
        UNSEEN
    }

    static RuleRow parse(String run, String line) {
        String[] cells = line.split("\t", -1);
        Grade grade = Grade.valueOf(cells[1].toUpperCase(Locale.ROOT));
        return new RuleRow(run, cells[0], grade, Status.valueOf(cells[2].toUpperCase(Locale.ROOT)), cells[3]);
    }

    String line() {
        return String.join("\t", rule, grade.label(), status.name().toLowerCase(Locale.ROOT), text);
    }

    private boolean leanedOn() {
        return status != Status.UNSEEN;
    }

    private boolean inLab() {
        return run.startsWith("lab-");
    }

    /** Whether only kernels of arm64 show the rule. */
    private boolean isOfArm64() {
        return rule.matches("(ARM|VGIC|ITS)_.*");
    }

    /** The kernel that showed the rule: of the lab, or this machine's. */
    private String kernel(String release) {
        return inLab() ? run.substring("lab-".length()) : isOfArm64() ? "arm64-recorded" : release;
    }

    /**
     * Prints which kernels showed the rules, and tells which rules lack what their grade promises.
     *
     * @param files the lines of the files, by RUN@PID
     * @param release of the running kernel, such as 6.18.44
     * @param failures takes the rules that nothing showed
     */
    static void judge(
            Map<String, List<String>> files,
            List<Summary.Row> tests,
            String release,
            PrintWriter out,
            List<String> failures) {
        List<RuleRow> rows = new ArrayList<>();
        files.forEach((file, lines) -> lines.forEach(line -> rows.add(parse(file.replaceFirst("@\\w+$", ""), line))));
        if (rows.isEmpty()) {
            return;
        }
        List<RuleRow> seen = rows.stream().filter(RuleRow::leanedOn).toList();
        Map<Grade, List<RuleRow>> grades = byGrade(rows);
        Map<Grade, List<RuleRow>> leaned = byGrade(seen);
        out.printf(
                "%nrules of the fake: %d (leaned on by tests that ask a real kernel the same): %s%n",
                names(rows).size(),
                Arrays.stream(Grade.values())
                        .filter(grade -> grade != Grade.UNTESTED)
                        .map(grade -> grade.label() + " "
                                + grades.getOrDefault(grade, List.of()).size() + " ("
                                + leaned.getOrDefault(grade, List.of()).size() + ")")
                        .collect(joining(", ")));
        seen.stream()
                .collect(groupingBy(row -> row.kernel(release), LinkedHashMap::new, toList()))
                .forEach((kernel, ofKernel) -> out.printf(
                        "  seen on %-16s %s%n",
                        kernel,
                        byGrade(ofKernel).entrySet().stream()
                                .map(grade -> grade.getKey().label() + " "
                                        + grade.getValue().size())
                                .collect(joining(", "))));
        grades.getOrDefault(Grade.INFERRED, List.of())
                .forEach(row -> out.println("inferred: " + row.rule() + ", " + row.text()));
        judgeMeasured(rows, tests, release, out, failures);
        judgeLab(rows, failures);
    }

    /** Random calls measure nothing: a draw must not decide whether a run succeeds. */
    private static void judgeMeasured(
            List<RuleRow> all, List<Summary.Row> tests, String release, PrintWriter out, List<String> failures) {
        List<RuleRow> here = all.stream().filter(row -> !row.inLab()).toList();
        Set<String> seen =
                names(here.stream().filter(row -> row.status() == Status.SEEN).toList());
        Set<String> searched = names(
                here.stream().filter(row -> row.status() == Status.SEARCHED).toList());
        boolean ranC = here.stream().anyMatch(row -> row.run().equals(C_PROGRAM));
        // The rules with this grade describe the kernel 6.18 as the fake's profile models it.
        boolean profileFits = release.matches("6\\.18([^0-9].*)?")
                && tests.stream()
                        .noneMatch(test -> !test.inLab() && test.reason().contains(Machine.NO_PROFILE));
        List<RuleRow> unseen = byGrade(here).getOrDefault(Grade.MEASURED, List.of()).stream()
                .filter(row -> !seen.contains(row.rule()))
                .toList();
        if (!Summary.showsKvm(tests)) {
            out.println("rules not measured without a real KVM: " + unseen.size());
            return;
        }
        for (RuleRow row : unseen) {
            if (row.rule().equals(SHOWN_BY_C) && !ranC) {
                out.println("not measured in this run: " + row.rule() + ", which make native-test shows");
            } else if (!profileFits) {
                out.println("not measured on this kernel: " + row.rule() + ", " + row.text());
            } else {
                String shown = searched.contains(row.rule()) ? "only random calls measure " : "no test measures ";
                failures.add(shown + row.rule() + ", " + row.text());
            }
        }
    }

    /**
     * The oldest kernels of the lab have all that newer ones lack, except that on VMX 6.12 has all. Rules of arm64 are also seen by the tests that compare
     * the fake with recorded answers of real kernels. Those do not run in the lab, so such rules are demanded only where
     * this machine ran the tests, too.
     */
    private static void judgeLab(List<RuleRow> rows, List<String> failures) {
        Set<String> runs = rows.stream().map(RuleRow::run).collect(toSet());
        boolean ranArm64 = runs.stream().anyMatch(run -> run.matches("lab-arm-gicv[34]-6\\.1"))
                && rows.stream().anyMatch(row -> !row.inLab());
        Set<String> seen = names(rows.stream().filter(RuleRow::leanedOn).toList());
        Set<String> seenInLab =
                names(rows.stream().filter(row -> row.inLab() && row.leanedOn()).toList());
        for (RuleRow row : byGrade(rows).getOrDefault(Grade.LAB, List.of())) {
            boolean ran = row.isOfArm64() ? ranArm64 : runs.contains("lab-amd-6.1");
            if (row.rule().startsWith("GICV2_")) {
                ran = runs.contains("lab-arm-gicv2-6.1");
            } else if (row.rule().startsWith("VMX_")) {
                ran = runs.contains("lab-apicv-6.12");
            }
            if (ran && !(row.isOfArm64() ? seen : seenInLab).contains(row.rule())) {
                failures.add("no test in the lab sees " + row.rule() + ", " + row.text());
            }
        }
    }

    private static Set<String> names(List<RuleRow> rows) {
        return rows.stream().map(RuleRow::rule).collect(toSet());
    }

    /** Each rule once. */
    private static Map<Grade, List<RuleRow>> byGrade(List<RuleRow> rows) {
        Map<String, RuleRow> first = new LinkedHashMap<>();
        rows.forEach(row -> first.putIfAbsent(row.rule(), row));
        return first.values().stream().collect(groupingBy(RuleRow::grade, TreeMap::new, toList()));
    }
}
