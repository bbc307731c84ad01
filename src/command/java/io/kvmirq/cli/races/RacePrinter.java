/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import io.kvmirq.cli.frame.Terminal;

/** Plays a race and prints it: text, a table of steps with two columns, and findings. Lines do not end in spaces. */
record RacePrinter(Terminal terminal) {
    private static final int COLUMN = 40;
    private static final String ROW = "  %-7s %-38s %-" + COLUMN + "s %s";

    void play(Race race) {
        terminal.out().println(terminal.bold(race.name()) + "   " + race.summary());
        terminal.out().println();
        text(race.theory() + "\n");
        row("", "", race.left(), race.right());
        row("actor", "step", race.columns(), race.columns());
        race.parts().get().forEach(this::print);
    }

    private void print(Race.Part part) {
        if (part instanceof Race.Text text) {
            text(text.text());
        } else if (part instanceof Race.Row row) {
            row("", row.what(), row.left(), row.right());
        } else if (part instanceof Race.Play<?> play) {
            play(play);
        } else if (part instanceof Race.Finding finding) {
            terminal.out()
                    .println("    " + verdict(finding.bad(), String.format("%-5s", finding.word())) + "  "
                            + finding.what() + "\n           " + finding.why().replace("\n", "\n           "));
        } else if (part instanceof Race.End end) {
            terminal.out().print("\n" + end.sentence().indent(2));
        }
    }

    private void text(String text) {
        terminal.out().print(text.indent(2).replaceAll("(?m)^ +$", ""));
    }

    private void row(String actor, String step, String left, String right) {
        terminal.out().println(String.format(ROW, actor, step, left, right).stripTrailing());
    }

    /** The steps, then the outcome of both sides in colour, then an empty line. */
    private <S extends Race.Side> void play(Race.Play<S> play) {
        for (Race.Step<S> step : play.steps()) {
            String left = step.repair() ? "" : after(step, play.left());
            row(step.actor(), step.what(), left, after(step, play.right()));
        }
        Race.Outcome left = play.left().outcome();
        Race.Outcome right = play.right().outcome();
        row(
                play.actor(),
                "",
                verdict(left.lost(), String.format("%-" + COLUMN + "s", left.text())),
                verdict(right.lost(), right.text()));
        terminal.out().println();
    }

    private static <S extends Race.Side> String after(Race.Step<S> step, S side) {
        String seen = step.on(side);
        return side.state() + seen;
    }

    private String verdict(boolean bad, String text) {
        return bad ? terminal.bad(text) : terminal.good(text);
    }
}
