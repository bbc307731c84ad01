/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import io.kvmirq.path.Evidence;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import io.kvmirq.text.Foreign;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * The output streams of a command.
 *
 * @param out results
 * @param err diagnostics
 * @param colour whether results may be coloured
 * @param columns width for help
 * @param progressColumns width of the progress line on {@code err}; 0 if stderr is not a terminal
 * @param wrapColumns width at which lines of results are broken, {@link #LONGEST_LINE} for a file or a pipe; 0 for never
 * @param rows height of the terminal; 0 if stdout is none
 * @param host the options that chose the host, such as {@code --fake 6.1}, each after a space; empty for
 *     this machine
 */
public record Terminal(
        PrintStream out,
        PrintStream err,
        boolean colour,
        int columns,
        int progressColumns,
        int wrapColumns,
        int rows,
        String host) {
    /** Set by the launcher if stdout is a terminal; Java cannot detect this itself. */
    public static final String PROPERTY = "kvmirq.terminal";

    /** Set by the launcher if stdout is a terminal: its width. */
    public static final String COLUMNS = "kvmirq.columns";

    /** Set by the launcher if stdout is a terminal: its height. */
    public static final String ROWS = "kvmirq.rows";

    /** Set by the launcher if stderr is a terminal: its width. */
    public static final String PROGRESS = "kvmirq.progress";

    public static final int DEFAULT_COLUMNS = 80;

    /** Where the texts of rows begin. */
    private static final String TEXT_INDENT = " ".repeat(28);

    /** The width of lines that no terminal shows. */
    private static final int LONGEST_LINE = 200;

    private static final char ESCAPE = '\033';

    /** Streams that are no terminal. */
    public Terminal(PrintStream out, PrintStream err, boolean colour, int columns, int progressColumns) {
        this(out, err, colour, columns, progressColumns, 0, 0, "");
    }

    /** The same streams for a command that looks at another host. */
    public Terminal at(String options) {
        return new Terminal(out, err, colour, columns, progressColumns, wrapColumns, rows, options);
    }

    /** The same output, with error messages to another stream. */
    public Terminal complaining(OutputStream to) {
        return new Terminal(out, utf8(to), colour, columns, progressColumns, wrapColumns, rows, host);
    }

    /** The same output, with results to another stream. */
    public Terminal printing(OutputStream to) {
        return new Terminal(utf8(to), err, colour, columns, progressColumns, wrapColumns, rows, host);
    }

    /** The same output, with its lines broken at this width. */
    Terminal wrapping(int width) {
        return new Terminal(out, err, colour, columns, progressColumns, width, rows, host);
    }

    public static Terminal ofProcess(Stdout stdout, Map<String, String> environment) {
        boolean noColour = !environment.getOrDefault("NO_COLOR", "").isEmpty()
                || environment.getOrDefault("TERM", "dumb").equals("dumb");
        boolean terminal = Boolean.getBoolean(PROPERTY);
        int columns = Integer.getInteger(COLUMNS, DEFAULT_COLUMNS);
        return new Terminal(
                utf8(stdout),
                utf8(System.err),
                terminal && !noColour,
                columns,
                Integer.getInteger(PROGRESS, 0),
                terminal ? columns : LONGEST_LINE,
                terminal ? Integer.getInteger(ROWS, 0) : 0,
                "");
    }

    private static PrintStream utf8(OutputStream stream) {
        return new PrintStream(stream, true, StandardCharsets.UTF_8);
    }

    /** Prints a line of the results, broken at the terminal's width, what follows two columns further in. */
    public void line(String text) {
        line(text, 2 + text.length() - text.stripLeading().length());
    }

    /** Prints a line of the results, broken at the terminal's width, what follows indented. */
    public void line(String text, int indent) {
        out.println(wrapped(text, indent));
    }

    /** Prints a fact: its name, padded to a width, and its text, which may contain names from outside. */
    public void fact(String name, int width, String text) {
        line(String.format("  %-" + width + "s ", name) + Foreign.printable(text), width + 3);
    }

    /** Prints a link of a path with its evidence. It may contain names from outside. */
    public void link(Link link) {
        String value = link.value()
                .filter(text -> !text.equals(link.text()))
                .map(text -> text + (link.text().startsWith("not checked") ? "; " : ": "))
                .orElse("");
        row(link.hop().label(), link.state().label(), value + link.text(), link.evidence());
    }

    /** Prints a link, a claim or another fact. A reason is as long as a sentence, so it has a line of its own. */
    public void row(String name, String state, String text, Optional<Evidence> evidence) {
        String begin = String.format("  %-14s %-10s ", name, state);
        boolean reasoned = evidence.filter(
                        found -> found.kind() == Evidence.Kind.INFERRED || found.kind() == Evidence.Kind.PREDICTED)
                .isPresent();
        String from = evidence.map(Evidence::toString).orElse("");
        line(
                (state.equals(Link.State.BROKEN.label()) ? bad(begin) : begin)
                        + Foreign.printable(text + (reasoned || from.isEmpty() ? "" : " [" + from + "]")),
                TEXT_INDENT.length());
        if (reasoned) {
            line(TEXT_INDENT + Foreign.printable(from));
        }
    }

    /**
     * Prints remedies below a row.
     *
     * @param shows whether tools show more, so that they are one line
     */
    public void remedies(boolean shows, List<Remedy> remedies) {
        Remedy.text(remedies.stream()
                        .filter(remedy -> shows && remedy.change().shows())
                        .toList())
                .ifPresent(tools -> line(TEXT_INDENT + "to see it: " + Foreign.printable(tools)));
        remedies.stream()
                .filter(remedy -> !shows || !remedy.change().shows())
                .forEach(remedy -> remedy(TEXT_INDENT + "do: ", remedy));
    }

    /** Prints what to do, when it takes effect, and its risk. It may contain names from outside. */
    public void remedy(String before, Remedy remedy) {
        line(before + Foreign.printable(remedy.text()) + remedy.cost());
    }

    /** Prints a line of the results that may contain names from outside. */
    public void say(String text) {
        line(Foreign.printable(text));
    }

    /** Prints a note below a table. It may contain names from outside. */
    public void note(String text) {
        line("- " + Foreign.printable(text), 2);
    }

    /** Prints a sentence to stderr. It may contain names from outside. */
    public void complain(@Nullable String sentence) {
        err.println("kvmirq: " + printable(String.valueOf(sentence)));
    }

    /** Text that is safe for a terminal: control characters except line ends become question marks. */
    public static String printable(String text) {
        return text.lines().map(line -> Foreign.printable(line)).collect(Collectors.joining("\n"));
    }

    /**
     * A line, broken at spaces at the terminal's width; a longer word stays whole. {@code indent} is at most half of
     * it.
     */
    public String wrapped(String line, int indent) {
        if (wrapColumns <= 0 || width(line) <= wrapColumns) {
            return line;
        }
        String before = "\n" + " ".repeat(Math.min(indent, wrapColumns / 2));
        StringBuilder text = new StringBuilder();
        int used = 0;
        int begin = 0;
        while (begin < line.length()) {
            int end = begin;
            while (end < line.length() && line.charAt(end) == ' ') {
                end++;
            }
            int word = end;
            while (end < line.length() && line.charAt(end) != ' ') {
                end++;
            }
            int width = width(line.substring(word, end));
            if (used > 0 && used + word - begin + width > wrapColumns) {
                text.append(before);
                used = before.length() - 1;
            } else {
                text.append(line, begin, word);
                used += word - begin;
            }
            text.append(line, word, end);
            used += width;
            begin = end;
        }
        return text.toString();
    }

    /** The width in columns, without the characters that {@link #styled} adds. */
    private static int width(String text) {
        int width = 0;
        boolean style = false;
        for (int i = 0; i < text.length(); i++) {
            style |= text.charAt(i) == ESCAPE;
            width += style ? 0 : 1;
            style &= text.charAt(i) != 'm';
        }
        return width;
    }

    public String bold(String text) {
        return styled("1", text);
    }

    public String good(String text) {
        return styled("32", text);
    }

    public String bad(String text) {
        return styled("31;1", text);
    }

    private String styled(String style, String text) {
        return colour ? "\033[" + style + "m" + text + "\033[0m" : text;
    }
}
