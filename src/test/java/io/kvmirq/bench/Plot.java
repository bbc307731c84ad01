/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.bench;

import java.util.Locale;
import java.util.Map;

/** Every ratio over its goal, on a logarithmic axis from a half to twice the goal. */
final class Plot {
    private static final int WIDTH = 1100;
    private static final int LEFT = 480;
    private static final int RIGHT = 880;
    private static final int LINE = 19;
    private static final int TOP = 34;
    private static final double OCTAVES = 1;
    private static final Map<String, Double> TICKS = Map.of(
            "½", 0.5, "0.7", 0.7, "0.8", 0.8, "0.9", 0.9, "goal", 1.0, "1.1", 1.1, "1.2", 1.2, "1.5", 1.5, "2×", 2.0);

    private static final String MET = "#1a6e8e";
    private static final String MISSED = "#cc4a0a";
    private static final String PLAIN = "#444";
    private static final String FORMER = "#777";

    private final Report report;
    private final ReportText text;
    private final StringBuilder svg = new StringBuilder();
    private int y = TOP;

    Plot(Report report, ReportText text) {
        this.report = report;
        this.text = text;
    }

    String svg() {
        for (String bench : text.benches()) {
            y += LINE / 2;
            label(4, "start", "#222", " font-weight=\"bold\"", bench);
            y += LINE;
            text.rowsOf(bench).forEach(this::row);
        }
        StringBuilder axis = new StringBuilder();
        TICKS.forEach((name, at) -> axis.append(String.format(
                Locale.ROOT,
                "<line x1=\"%1$.1f\" x2=\"%1$.1f\" y1=\"%2$d\" y2=\"%3$d\" stroke=\"%4$s\"/>"
                        + "<text x=\"%1$.1f\" y=\"%5$d\" text-anchor=\"middle\" fill=\"#555\">%6$s</text>%n",
                x(at),
                TOP - 8,
                y,
                at == 1 ? "#222" : "#e2e2e2",
                TOP - 14,
                name)));
        return String.format(
                        Locale.ROOT,
                        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\""
                                + " font-size=\"12\">%n",
                        WIDTH,
                        y + 6)
                + axis + svg + "</svg>\n";
    }

    private void row(Row row) {
        boolean hasGoal = row.goal().kind() != Goal.Kind.NONE;
        String color = !hasGoal ? PLAIN : row.isMet() ? MET : MISSED;
        double bound = hasGoal ? row.goal().bound() : 1;
        double median = row.ratio() / bound;
        Double before = report.before().get(row.name());
        label(LEFT - 14, "end", color, "", text.cells(row).get(0));
        add(
                "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"3\" stroke-opacity=\".35\"/>",
                x(row.ratio(10) / bound), x(row.ratio(90) / bound), y, y, color);
        if (before != null) {
            add(
                    "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-dasharray=\"2 2\"/>",
                    x(before / bound), x(median), y, y, FORMER);
            add(
                    "<path d=\"M%.1f %d m-5 0 l5 -5 5 5 -5 5 z\" fill=\"#fff\" stroke=\"%s\"/>",
                    x(before / bound), y, FORMER);
        }
        add(
                isBeyond(median)
                        ? "<path d=\"M%1$.1f %2$d l%6$d 4.5 v-9 z\" fill=\"%3$s\" stroke=\"%4$s\"/>"
                        : !hasGoal
                                ? "<rect x=\"%5$.1f\" y=\"%7$d\" width=\"7\" height=\"7\" fill=\"%3$s\" stroke=\"%4$s\"/>"
                                : "<circle cx=\"%1$.1f\" cy=\"%2$d\" r=\"4\" fill=\"%3$s\" stroke=\"%4$s\"/>",
                x(median),
                y,
                row.rounds().isCalm() ? color : "#fff",
                color,
                x(median) - 3.5,
                median > 1 ? -8 : 8,
                y - 3);
        label(
                RIGHT + 14,
                "start",
                color,
                "",
                row.goal().text(row.ratio(), row.unit())
                        + (hasGoal ? "  (" + row.goal().text(row.unit()) + ")" : ""));
        y += LINE;
    }

    private void label(int x, String anchor, String color, String attributes, String label) {
        add(
                "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\" fill=\"%s\"%s>%s</text>",
                x, y + 4, anchor, color, attributes, ReportHtml.escaped(label));
    }

    private void add(String format, Object... values) {
        svg.append(String.format(Locale.ROOT, format, values)).append('\n');
    }

    private static boolean isBeyond(double overGoal) {
        return Math.abs(octaves(overGoal)) > OCTAVES;
    }

    private static double x(double overGoal) {
        double octaves = Math.max(-OCTAVES, Math.min(OCTAVES, octaves(overGoal)));
        return LEFT + (RIGHT - LEFT) * (octaves + OCTAVES) / (2 * OCTAVES);
    }

    /** What is not above 0, such as an addition lost in noise, is left of everything, and so is what is no number. */
    private static double octaves(double overGoal) {
        return overGoal > 0 ? Math.log(overGoal) / Math.log(2) : Double.NEGATIVE_INFINITY;
    }
}
