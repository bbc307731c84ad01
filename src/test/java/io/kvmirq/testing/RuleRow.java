/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.explain.Grade;
import java.util.List;
import java.util.Locale;

/**
 * One rule of the fake in one run: a line of {@code target/summary/RUN.rules}.
 *
 * @param run the name of the file, not a cell of the line
 * @param status how the tests of the run leaned on the rule
 */
record RuleRow(String run, String rule, Grade grade, Status status, String text) {
    enum Status {
        /** A test leaned on the rule and asked a real kernel the same. */
        SEEN,
        /** Only random calls did: other seeds may miss the rule. */
        SEARCHED,
        UNSEEN;

        String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    static RuleRow parse(String run, String line) {
        List<String> cells = List.of(line.split("\t", -1));
        if (cells.size() != 4) {
            throw new IllegalArgumentException("a rule has " + cells.size() + " cells, expected 4: " + line);
        }
        Grade grade = Grade.valueOf(cells.get(1).toUpperCase(Locale.ROOT));
        Status status = Status.valueOf(cells.get(2).toUpperCase(Locale.ROOT));
        return new RuleRow(run, cells.get(0), grade, status, cells.get(3));
    }

    String line() {
        return String.join("\t", rule, grade.label(), status.label(), text);
    }

    /** Whether a test or random calls leaned on the rule. */
    boolean leanedOn() {
        return status != Status.UNSEEN;
    }

    boolean inLab() {
        return TestRow.isLab(run);
    }
}
