/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Writes the report of a run, for {@code scripts/bench}. */
final class Main {
    private static final String REASONS = "## Missed goals";

    private Main() {}

    /**
     * Reads {@code rows.jsonl} in a directory, and {@code failed} if it is there, and writes {@code report.md} and
     * {@code report.json} beside it.
     *
     * @param arguments the directory, the page that has the reasons, a former report or nothing, and the environment as
     *     {@code name=value}; or only a former report, to see whether it is one
     */
    public static void main(String[] arguments) throws IOException {
        try {
            if (arguments.length == 1) {
                Report.ratios(Path.of(arguments[0]));
                return;
            }
            write(
                    Path.of(arguments[0]),
                    reasons(Files.readString(Path.of(arguments[1]))),
                    arguments[2].isEmpty() ? Map.of() : Report.ratios(Path.of(arguments[2])),
                    environment(List.of(arguments).subList(3, arguments.length)));
        } catch (IllegalArgumentException e) {
            System.err.println("bench: " + e.getMessage());
            System.exit(2);
        }
    }

    private static void write(
            Path directory, Map<String, String> reasons, Map<String, Double> before, Map<String, String> environment)
            throws IOException {
        Path rows = directory.resolve("rows.jsonl");
        Path failures = directory.resolve("failed");
        Report report = new Report(
                environment,
                Files.exists(rows) ? Report.rows(rows) : List.of(),
                Files.exists(failures) ? Files.readAllLines(failures) : List.of(),
                before,
                reasons);
        ReportText text = new ReportText(report);
        Files.writeString(directory.resolve("report.json"), report.toJson());
        Files.writeString(directory.resolve("report.md"), text.markdown());
        for (Row row : report.rows()) {
            System.out.println(text.line(row));
        }
        System.out.println(text.verdict());
    }

    private static Map<String, String> environment(List<String> pairs) {
        Map<String, String> environment = new LinkedHashMap<>();
        for (String pair : pairs) {
            int sign = pair.indexOf('=');
            environment.put(pair.substring(0, sign), pair.substring(sign + 1));
        }
        return environment;
    }

    /** Of a page's table of missed goals: row, why, what was tried. */
    static Map<String, String> reasons(String page) {
        Map<String, String> reasons = new LinkedHashMap<>();
        int from = page.indexOf(REASONS);
        if (from < 0) {
            return reasons;
        }
        int to = page.indexOf("\n## ", from + 1);
        page.substring(from, to < 0 ? page.length() : to)
                .lines()
                .filter(line -> line.startsWith("| "))
                .skip(1)
                .map(line -> line.substring(2).split(" *\\| *", -1))
                .filter(cells -> cells.length > 2 && !cells[1].isEmpty())
                .forEach(cells -> reasons.put(
                        cells[0],
                        sentence(Character.toUpperCase(cells[1].charAt(0)) + cells[1].substring(1))
                                + (cells[2].isEmpty() ? "" : " Tried: " + sentence(cells[2]))));
        return reasons;
    }

    private static String sentence(String text) {
        return text.endsWith(".") ? text : text + ".";
    }
}
