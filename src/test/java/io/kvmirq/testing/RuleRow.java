/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.explain.Grade;
import java.util.List;
import java.util.Locale;

/**
 * One rule of the fake in one run: a line of {@code target/summary/RUN.rules}.
 *
 * @param run the name of the file, not a cell of the line
 * @param seen whether a test leaned on the rule and asked a real kernel the same
 */
record RuleRow(String run, String rule, Grade grade, boolean seen, String text) {
    private static final String SEEN = "seen";

    static RuleRow parse(String run, String line) {
        List<String> cells = List.of(line.split("\t", -1));
        if (cells.size() != 4) {
            throw new IllegalArgumentException("a rule has " + cells.size() + " cells, expected 4: " + line);
        }
        Grade grade = Grade.valueOf(cells.get(1).toUpperCase(Locale.ROOT));
        return new RuleRow(run, cells.get(0), grade, cells.get(2).equals(SEEN), cells.get(3));
    }

    String line() {
        return String.join("\t", rule, grade.label(), seen ? SEEN : "unseen", text);
    }

    boolean inLab() {
        return TestRow.isLab(run);
    }
}
