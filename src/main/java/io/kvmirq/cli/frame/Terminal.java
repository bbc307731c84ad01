/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
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
 */
public record Terminal(PrintStream out, PrintStream err, boolean colour, int columns, int progressColumns) {
    /** Set by the launcher if stdout is a terminal; Java cannot detect this itself. */
    public static final String PROPERTY = "kvmirq.terminal";

    /** Set by the launcher if stdout is a terminal: its width. */
    public static final String COLUMNS = "kvmirq.columns";

    /** Set by the launcher if stderr is a terminal: its width. */
    public static final String PROGRESS = "kvmirq.progress";

    public static final int DEFAULT_COLUMNS = 80;

    public static Terminal ofProcess(Stdout stdout, Map<String, String> environment) {
        boolean noColour = !environment.getOrDefault("NO_COLOR", "").isEmpty()
                || environment.getOrDefault("TERM", "dumb").equals("dumb");
        return new Terminal(
                utf8(stdout),
                utf8(System.err),
                Boolean.getBoolean(PROPERTY) && !noColour,
                Integer.getInteger(COLUMNS, DEFAULT_COLUMNS),
                Integer.getInteger(PROGRESS, 0));
    }

    private static PrintStream utf8(OutputStream stream) {
        return new PrintStream(stream, true, StandardCharsets.UTF_8);
    }

    /** Prints a sentence to stderr. It may contain names from outside. */
    public void complain(@Nullable String sentence) {
        err.println("kvmirq: " + printable(String.valueOf(sentence)));
    }

    /** Text without what a terminal takes for a command: control characters become question marks, except line ends. */
    public static String printable(String text) {
        return text.lines().map(line -> Hex.printable(line, Integer.MAX_VALUE)).collect(Collectors.joining("\n"));
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
