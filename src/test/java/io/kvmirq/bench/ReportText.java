/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/** A report in words and tables: the cells of a row, for Markdown and HTML alike, and the page in Markdown. */
final class ReportText {
    static final List<String> COLUMNS =
            List.of("operation", "ours", "reference", "ratio", "goal", "", "p10/p10", "spread", "before");

    private final Report report;

    ReportText(Report report) {
        this.report = report;
    }

    /** Under {@link #COLUMNS}. */
    List<String> cells(Row row) {
        Rounds rounds = row.rounds();
        Double before = report.before().get(row.name());
        return List.of(
                row.operation() + (row.note().isEmpty() ? "" : ", " + row.note()),
                Units.text(rounds.ours(50), row.unit()),
                rounds.hasReference() ? Units.text(rounds.theirs(50), row.unit()) : "",
                row.goal().text(row.ratio(), row.unit()),
                row.goal().text(row.unit()),
                verdict(row),
                row.goal().text(row.ratioOfTenths(), row.unit()),
                number(rounds.spread()),
                before == null ? "" : row.goal().text(before, row.unit()));
    }

    private static String verdict(Row row) {
        String calm = row.rounds().isCalm() ? "" : ", not calm";
        if (row.goal().kind() == Goal.Kind.NONE) {
            return calm.isEmpty() ? "" : "not calm";
        }
        return (row.isMet() ? "met" : "missed") + calm;
    }

    private static String number(double value) {
        return Units.number(value, Double.NaN, 2);
    }

    /** Such as {@code 40 of 42 goals met, 3 rows not calm}. */
    String verdict() {
        long goals = report.rows().stream()
                .filter(row -> row.goal().kind() != Goal.Kind.NONE)
                .count();
        int missed = report.missed().size();
        int notCalm = report.notCalm().size();
        return goals - missed + " of " + goals + " goals met" + (notCalm == 0 ? "" : ", " + notCalm + " rows not calm")
                + (report.isBusy() ? ", other programs ran on this machine (see the load)" : "")
                + (report.isComparable() ? "" : ", the former report has none of these rows")
                + (report.failed().isEmpty() ? "" : ", failed: " + String.join(", ", report.failed()))
                + interruption();
    }

    private String interruption() {
        String by = report.environment().get(Report.INTERRUPTED);
        return by == null ? "" : ", interrupted " + by + ": what follows was not measured";
    }

    /** Rows that miss their goals, by what is known of it. */
    Map<String, List<Row>> missed() {
        return report.missed().stream()
                .collect(Collectors.groupingBy(this::reason, LinkedHashMap::new, Collectors.toList()));
    }

    private String reason(Row row) {
        String reason = report.reason(row);
        return reason.isEmpty() ? "Not explained yet." : reason;
    }

    /** By how much the goal is missed. */
    String missed(Row row) {
        double over = (row.ratio() / row.goal().bound() - 1) * 100;
        String by = Units.isMeasured(over) ? "missed by " + Units.number(over, 0, 1) + " %" : "missed";
        return row.name() + ": " + by + " ("
                + row.goal().text(row.ratio(), row.unit()) + ", goal "
                + row.goal().text(row.unit()) + ")"
                + (row.rounds().isCalm() ? "" : ", not calm");
    }

    /** As it is printed at the end of a run. */
    String line(Row row) {
        List<String> cells = cells(row);
        return String.format(
                Locale.ROOT,
                "%-14s %-14s %-17s spread %5s  %s%s",
                cells.get(3),
                cells.get(4),
                verdict(row),
                cells.get(7),
                row.name(),
                cells.get(8).isEmpty() ? "" : "; before: " + cells.get(8));
    }

    String markdown() {
        StringBuilder page = new StringBuilder("# Benchmarks\n\n" + verdict() + ".\n\n");
        report.environment().forEach((name, value) -> page.append("- " + name + ": " + value + "\n"));
        if (!report.missed().isEmpty()) {
            page.append("\n## Missed goals\n\n");
            missed().forEach((reason, rows) -> {
                page.append("- " + reason + "\n");
                rows.forEach(row -> page.append("  - " + missed(row) + "\n"));
            });
        }
        for (String bench : benches()) {
            page.append("\n## " + bench + "\n\n" + line(COLUMNS));
            page.append(line(COLUMNS.stream().map(column -> "---").toList()));
            rowsOf(bench).forEach(row -> page.append(line(cells(row))));
        }
        return page.toString();
    }

    List<String> benches() {
        return report.rows().stream().map(Row::bench).distinct().toList();
    }

    List<Row> rowsOf(String bench) {
        return report.rows().stream().filter(row -> row.bench().equals(bench)).toList();
    }

    private static String line(List<String> cells) {
        return cells.stream().map(cell -> cell.replace("|", "\\|")).collect(Collectors.joining(" | ", "| ", " |\n"));
    }
}
