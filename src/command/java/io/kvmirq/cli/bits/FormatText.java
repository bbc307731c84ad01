/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Violation;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Terminal;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;

/** Prints a structure as text: a line for each field, then each violation of the manual. */
final class FormatText {
    private FormatText() {}

    private record Row(String position, String label, String name, String value, String meaning) {}

    static List<Violation> print(Format format, long[] words, Terminal terminal) {
        PrintStream out = terminal.out();
        long[] bits = format.bits(words);
        out.println(terminal.bold(format.title()) + "  (" + format.kind() + ")");
        List<Row> rows = new ArrayList<>();
        for (Field field : format.fieldsOf(bits)) {
            rows.add(new Row(
                    "[" + format.position(field) + "]",
                    field.description().label(),
                    field.name(),
                    field.width() == 1 ? Long.toString(field.value(bits)) : Hex.of(field.value(bits)),
                    field.meaning(bits)));
        }
        int position =
                rows.stream().mapToInt(row -> row.position().length()).max().orElse(0);
        int label = rows.stream().mapToInt(row -> row.label().length()).max().orElse(0);
        int name = rows.stream().mapToInt(row -> row.name().length()).max().orElse(0);
        int value = rows.stream().mapToInt(row -> row.value().length()).max().orElse(0);
        for (Row row : rows) {
            String line = "  " + left(row.position(), position) + "  " + left(row.label(), label) + "  "
                    + left(row.name(), name) + "  " + left(row.value(), value) + "  " + row.meaning();
            out.println(line.stripTrailing());
        }
        List<Violation> violations = printViolations(format, bits, terminal);
        if (violations.isEmpty()) {
            out.println("no violations");
        }
        format.remarks(bits).forEach(remark -> out.println("remark  " + remark));
        return violations;
    }

    static List<Violation> printViolations(Format format, long[] bits, Terminal terminal) {
        List<Violation> violations = format.violations(bits);
        for (Violation violation : violations) {
            terminal.line(terminal.bad("violation") + "  " + violation);
        }
        return violations;
    }

    private static String left(String text, int width) {
        return text + " ".repeat(width - text.length());
    }
}
