/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** Prints tables. */
public final class Columns {
    /** The maximal width of a column, except the last. */
    public static final int WIDEST_COLUMN = 24;

    private Columns() {}

    /**
     * Columns as wide as their widest cell, except the last, and closer on a narrow terminal. The first row is the head.
     * Leaves out columns of dashes, and names a sentence in the last column once.
     */
    public static void print(List<List<String>> rows, Terminal terminal) {
        List<Integer> shown = IntStream.range(0, rows.get(0).size())
                .filter(column ->
                        rows.stream().skip(1).anyMatch(row -> !row.get(column).equals("-")))
                .boxed()
                .toList();
        List<List<String>> table =
                rows.stream().map(row -> shown.stream().map(row::get).toList()).toList();
        int end = shown.size() - 1;
        int[] widths = IntStream.range(0, end)
                .map(column -> table.stream()
                        .mapToInt(row -> row.get(column).length())
                        .max()
                        .orElse(0))
                .toArray();
        int all = Arrays.stream(widths).sum();
        boolean narrow = terminal.wrapColumns() > 0
                && all + 2 * end + table.get(0).get(end).length() > terminal.wrapColumns();
        int gap = narrow ? 1 : 2;
        for (int i = 0; i < table.size(); i++) {
            List<String> cells = table.get(i);
            StringBuilder line = new StringBuilder();
            for (int column = 0; column < end; column++) {
                String cell = cells.get(column);
                line.append(cell).append(" ".repeat(widths[column] - cell.length() + gap));
            }
            String text = cells.get(end);
            boolean again = i > 1
                    && text.length() > WIDEST_COLUMN
                    && text.equals(table.get(i - 1).get(end));
            line.append(again ? "as above" : text);
            terminal.line(i == 0 ? terminal.bold(line.toString()) : line.toString(), all + gap * end);
        }
    }
}
