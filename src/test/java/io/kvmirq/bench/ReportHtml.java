/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import java.util.List;
import java.util.stream.Collectors;

/** A report as one page of HTML, with a plot and no other files. */
final class ReportHtml {
    private static final String STYLE = """
            body { font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222; }
            table { border-collapse: collapse; margin-bottom: 2em; }
            td, th { padding: .15em .7em; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
            td:first-child, th:first-child { text-align: left; white-space: normal; }
            .missed { color: #b3400a; }
            svg { width: 100%; height: auto; }
            """;

    private final Report report;
    private final ReportText text;

    ReportHtml(Report report) {
        this.report = report;
        this.text = new ReportText(report);
    }

    String page() {
        StringBuilder page = new StringBuilder("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                + "<title>kvmirq: benchmarks</title><style>\n" + STYLE + "</style></head><body>\n");
        page.append("<h1>Benchmarks</h1>\n<p>" + escaped(text.verdict()) + ".</p>\n<ul>\n");
        report.environment().forEach((name, value) -> page.append(item(name + ": " + value)));
        page.append("</ul>\n");
        if (!report.missed().isEmpty()) {
            page.append("<h2>Missed goals</h2>\n<ul>\n");
            text.missed().forEach((reason, rows) -> {
                page.append("<li>" + code(escaped(reason)) + "\n<ul>\n");
                rows.forEach(row -> page.append(item(text.missed(row))));
                page.append("</ul></li>\n");
            });
            page.append("</ul>\n");
        }
        page.append("<h2>Each ratio over its goal</h2>\n");
        page.append(
                "<p>Left of the line a goal is met. A dot is the median of the rounds, its bar goes from the 10th to the"
                        + " 90th percentile; an arrow leads beyond the plot. A dot without a filling was not calm, a square has no"
                        + " goal and is compared with 1. A diamond is the former report.</p>\n");
        page.append(new Plot(report, text).svg());
        for (String bench : text.benches()) {
            page.append("<h2>" + escaped(bench) + "</h2>\n<table>\n" + line("th", ReportText.COLUMNS, ""));
            for (Row row : text.rowsOf(bench)) {
                page.append(line("td", text.cells(row), row.isMet() ? "" : " class=\"missed\""));
            }
            page.append("</table>\n");
        }
        return page.append("</body></html>\n").toString();
    }

    private static String item(String text) {
        return "<li>" + escaped(text) + "</li>\n";
    }

    /** Of a sentence in Markdown. */
    private static String code(String text) {
        return text.replaceAll("`([^`]*)`", "<code>$1</code>");
    }

    private static String line(String tag, List<String> cells, String attributes) {
        return cells.stream()
                .map(cell -> "<" + tag + ">" + escaped(cell) + "</" + tag + ">")
                .collect(Collectors.joining("", "<tr" + attributes + ">", "</tr>\n"));
    }

    static String escaped(String text) {
        return text.replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;")
                .replace("\"", "&quot;");
    }
}
