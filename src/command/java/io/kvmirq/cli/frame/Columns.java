/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** Prints tables. */
public final class Columns {
    /** The maximal width of a column, except the last. */
    public static final int WIDEST = 24;

    private Columns() {}

    /**
     * Columns as wide as their widest cell, except the last. The first row is the head. Leaves out columns of dashes, and
     * names a sentence in the last column once.
     */
    public static void print(List<List<String>> rows, Terminal terminal) {
        List<Integer> shown = IntStream.range(0, rows.get(0).size())
                .filter(column ->
                        rows.stream().skip(1).anyMatch(row -> !row.get(column).equals("-")))
                .boxed()
                .toList();
        List<List<String>> table =
                rows.stream().map(row -> shown.stream().map(row::get).toList()).toList();
        int[] widths = new int[table.get(0).size()];
        for (List<String> cells : table) {
            for (int column = 0; column < widths.length; column++) {
                widths[column] = Math.max(widths[column], cells.get(column).length());
            }
        }
        int last = Arrays.stream(widths, 0, widths.length - 1)
                .map(width -> width + 2)
                .sum();
        for (int i = 0; i < table.size(); i++) {
            List<String> cells = table.get(i);
            String text = cells.get(widths.length - 1);
            boolean again = i > 1
                    && text.length() > WIDEST
                    && text.equals(table.get(i - 1).get(widths.length - 1));
            String line = line(widths, cells) + (again ? "the same" : text);
            terminal.line(i == 0 ? terminal.bold(line) : line, last);
        }
    }

    private static String line(int[] widths, List<String> cells) {
        StringBuilder line = new StringBuilder();
        for (int column = 0; column < cells.size() - 1; column++) {
            line.append(cells.get(column))
                    .append(" ".repeat(widths[column] - cells.get(column).length() + 2));
        }
        return line.toString();
    }
}
