/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.faults;

import io.kvmirq.Errno;
import io.kvmirq.cli.frame.Terminal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Prints a walk as a table: a line for each call when it has all its outcomes, then the error messages of the program.
 */
final class WalkText {
    private static final int CALLS = 6;
    private static final int OUTCOME = 15;

    private final Terminal terminal;
    private final List<Errno> errnos;
    private final int width;
    private final List<Outcome> all = new ArrayList<>();
    private final List<String> said = new ArrayList<>();

    WalkText(Terminal terminal, List<Errno> errnos, List<Walk.Call> calls) {
        this.terminal = terminal;
        this.errnos = errnos;
        this.width = calls.stream().mapToInt(call -> call.name().length()).max().orElse(0);
    }

    private static String padded(String text, int width) {
        return text + " ".repeat(Math.max(0, width - text.length()));
    }

    private void line(String call, String times, List<String> cells) {
        String line = padded(call, width) + " " + " ".repeat(Math.max(0, CALLS - times.length())) + times + "  "
                + cells.stream().map(cell -> padded(cell, OUTCOME)).collect(Collectors.joining(" "));
        terminal.line(line.stripTrailing());
    }

    void head() {
        line("call", "times", errnos.stream().map(Errno::toString).toList());
    }

    void row(Walk.Row row) {
        line(
                row.call().name(),
                Long.toString(row.call().times()),
                row.outcomes().stream().map(Outcome::toString).toList());
        all.addAll(row.outcomes());
        Set<Outcome.Kind> told = EnumSet.noneOf(Outcome.Kind.class);
        for (int i = 0; i < row.outcomes().size(); i++) {
            Outcome outcome = row.outcomes().get(i);
            if (outcome.kind().isBad() && !outcome.said().isEmpty() && told.add(outcome.kind())) {
                said.add(row.call().name() + " " + errnos.get(i) + ": " + Terminal.printable(outcome.said()));
            }
        }
    }

    void end() {
        String counts = Arrays.stream(Outcome.Kind.values())
                .map(kind -> kind + " "
                        + all.stream().filter(one -> one.kind() == kind).count())
                .collect(Collectors.joining(", "));
        terminal.line("");
        terminal.line(all.size() + " faults: " + counts);
        said.forEach(terminal.out()::println);
    }
}
