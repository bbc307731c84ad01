/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import io.kvmirq.cli.frame.Terminal;
import java.util.List;

/** Prints a race: text, a table of steps with two columns, and verdicts. Lines do not end in spaces. */
final class RacePrinter {
    private static final int COLUMN = 40;
    private static final String ROW = "  %-7s %-38s %-" + COLUMN + "s %s";

    private final Terminal terminal;

    RacePrinter(Terminal terminal) {
        this.terminal = terminal;
    }

    /** The first line, and an empty one. */
    void title(Race race) {
        terminal.out().println(terminal.bold(race.name()) + "   " + race.summary());
        terminal.out().println();
    }

    /** Lines of text before a table or a list. */
    void text(String text) {
        terminal.out().print(text.indent(2).replaceAll("(?m)^ +$", ""));
    }

    /** The last sentence, after an empty line. */
    void end(String sentence) {
        terminal.out().print("\n" + sentence.indent(2));
    }

    /**
     * The head of the table of steps.
     *
     * @param left what the left column plays
     * @param right what the right column plays
     * @param columns the names of the values in both
     */
    void head(String left, String right, String columns) {
        row("", "", left, right);
        row("actor", "step", columns, columns);
    }

    /** A step, and the values after it on each side. */
    void row(String actor, String step, String left, String right) {
        terminal.out().println(String.format(ROW, actor, step, left, right).stripTrailing());
    }

    /** How both sides end, in colour. Followed by an empty line. */
    void outcome(String actor, boolean leftLost, String left, boolean rightLost, String right) {
        row(actor, "", verdict(leftLost, String.format("%-" + COLUMN + "s", left)), verdict(rightLost, right));
        terminal.out().println();
    }

    /** What is found of one form: a coloured word of five letters, the form, and lines of why. */
    void verdict(boolean bad, String word, String what, List<String> why) {
        verdict(bad, word, what, String.join("\n           ", why));
    }

    /** What is found of one form: a coloured word of five letters, the form, and why. */
    void verdict(boolean bad, String word, String what, String why) {
        terminal.out().println("    " + verdict(bad, word) + "  " + what + "\n           " + why);
    }

    private String verdict(boolean bad, String text) {
        return bad ? terminal.bad(text) : terminal.good(text);
    }
}
