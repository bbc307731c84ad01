/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine;
import picocli.CommandLine.Help;
import picocli.CommandLine.Help.Ansi;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.PositionalParamSpec;

/**
 * Makes manual pages (roff) from the model that prints the help: one for {@code kvmirq} and one for each sub-command.
 * Picocli's own generator writes AsciiDoc, and a conversion from AsciiDoc to roff needs Ruby.
 */
final class ManPages {
    private static final String SECTION = "1";

    /** The last printable character of ASCII. Pages are ASCII, so they look the same in every locale. */
    private static final int LAST_PLAIN = 0x7e;

    private final StringBuilder roff = new StringBuilder();
    private final Map<String, String> summaries;
    private boolean paragraphEnds;

    private ManPages(Map<String, String> summaries) {
        this.summaries = summaries;
    }

    /** The pages by file name, such as {@code kvmirq-list.1}, with a line of summary for each command. */
    static Map<String, String> render(CommandLine command, Map<String, String> summaries) {
        Map<String, String> pages = new LinkedHashMap<>();
        List<CommandLine> all = new ArrayList<>(List.of(command));
        all.addAll(command.getSubcommands().values());
        for (CommandLine line : all) {
            if (!line.getCommandSpec().usageMessage().hidden()) {
                pages.put(name(line.getCommandSpec()) + "." + SECTION, new ManPages(summaries).page(line, command));
            }
        }
        return pages;
    }

    private static String name(CommandSpec spec) {
        return spec.qualifiedName("-");
    }

    private String page(CommandLine line, CommandLine root) {
        CommandSpec spec = line.getCommandSpec();
        String name = name(spec);
        request("TH", name.toUpperCase(Locale.ROOT), SECTION, "", Version.name(), "kvmirq");
        section("Name");
        text(name + " \\- " + escaped(summary(spec)));
        section("Synopsis");
        String synopsis = new Help(spec, Help.defaultColorScheme(Ansi.OFF)).synopsis(0);
        // One line of options is broken to fit a terminal; several synopses stand below each other.
        boolean several = spec.usageMessage().customSynopsis().length > 0;
        List<String> lines = several
                ? synopsis.lines().toList()
                : List.of(synopsis.replaceAll("\\s+", " ").replace("[, ", "[,"));
        int end = spec.qualifiedName().length();
        for (String form : lines) {
            text("\\fB" + escaped(spec.qualifiedName()) + "\\fR"
                    + escaped(form.strip().substring(end)));
            request("br");
        }
        section("Description");
        for (String paragraph : spec.usageMessage().description()) {
            paragraph(paragraph);
        }
        options(spec);
        if (line == root) {
            commands(root);
        }
        footer(spec.usageMessage().footer());
        section("See also");
        text(others(line, root));
        return roff.toString();
    }

    private String summary(CommandSpec spec) {
        return summaries.getOrDefault(spec.name(), "").replaceFirst("\\.$", "");
    }

    private void options(CommandSpec spec) {
        if (!spec.positionalParameters().isEmpty()) {
            section("Parameters");
            for (PositionalParamSpec parameter : spec.positionalParameters()) {
                item("\\fI" + escaped(parameter.paramLabel()) + "\\fR", parameter.description());
            }
        }
        section("Options");
        for (OptionSpec option : spec.options()) {
            String names = "\\fB" + escaped(String.join(", ", option.names())) + "\\fR";
            boolean flag = option.arity().max() == 0;
            item(flag ? names : names + "=\\fI" + escaped(option.paramLabel()) + "\\fR", option.description());
        }
    }

    private void commands(CommandLine root) {
        section("Commands");
        root.getSubcommands().forEach((name, command) -> {
            CommandSpec spec = command.getCommandSpec();
            if (!spec.usageMessage().hidden()) {
                item("\\fB" + escaped(name) + "\\fR", new String[] {summary(spec)});
            }
        });
    }

    /** A line that ends with a colon is a heading. Indented lines are a table. */
    private void footer(String... lines) {
        boolean table = false;
        for (String line : lines) {
            boolean row = line.startsWith(" ");
            if (table != row) {
                request(row ? "nf" : "fi");
                table = row;
            }
            if (line.matches("\\p{Lu}[^:]*:")) {
                section(line.substring(0, line.length() - 1));
            } else if (row) {
                text(escaped(line.substring(2)));
            } else {
                paragraph(line);
            }
        }
        if (table) {
            request("fi");
        }
    }

    private static String others(CommandLine line, CommandLine root) {
        List<String> names = new ArrayList<>();
        if (line == root) {
            root.getSubcommands().values().forEach(command -> {
                if (!command.getCommandSpec().usageMessage().hidden()) {
                    names.add(name(command.getCommandSpec()));
                }
            });
        } else {
            names.add(name(root.getCommandSpec()));
        }
        return String.join(
                ", ",
                names.stream()
                        .map(name -> "\\fB" + escaped(name) + "\\fR(" + SECTION + ")")
                        .toList());
    }

    // Roff

    private void section(String title) {
        paragraphEnds = false;
        request("SH", title.toUpperCase(Locale.ROOT));
    }

    private void item(String tag, String[] description) {
        request("TP");
        text(tag);
        text(escaped(String.join(" ", description)));
    }

    private void paragraph(String text) {
        if (text.isEmpty()) {
            paragraphEnds = true;
            return;
        }
        if (paragraphEnds) {
            request("PP");
            paragraphEnds = false;
        }
        text(escaped(text));
    }

    private void request(String name, String... arguments) {
        roff.append('.').append(name);
        for (String argument : arguments) {
            roff.append(" \"").append(escaped(argument).replace("\"", "\\(dq")).append('"');
        }
        roff.append('\n');
    }

    /** Writes an escaped line. Roff treats a line with a control character at its start as a request. */
    private void text(String line) {
        roff.append(line.startsWith(".") || line.startsWith("'") ? "\\&" : "")
                .append(line)
                .append('\n');
    }

    private static String escaped(String text) {
        String plain = text.replace("\\", "\\e")
                .replace("-", "\\-")
                .replace("'", "\\(aq")
                .replace("`", "\\(ga")
                .replace("^", "\\(ha")
                .replace("~", "\\(ti");
        StringBuilder ascii = new StringBuilder();
        plain.codePoints()
                .forEach(c -> ascii.append(c > LAST_PLAIN ? String.format("\\[u%04X]", c) : Character.toString(c)));
        return ascii.toString();
    }
}
