/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * Where a command prints.
 *
 * @param out results
 * @param err diagnostics
 * @param colour whether results may be coloured
 */
record Terminal(PrintStream out, PrintStream err, boolean colour) {
    /** Set by the launcher when stdout is a terminal, which Java cannot tell on its own. */
    static final String PROPERTY = "kvmirq.terminal";

    static Terminal ofProcess(Stdout stdout, Map<String, String> environment) {
        boolean noColour = !environment.getOrDefault("NO_COLOR", "").isEmpty()
                || environment.getOrDefault("TERM", "dumb").equals("dumb");
        return new Terminal(utf8(stdout), utf8(System.err), Boolean.getBoolean(PROPERTY) && !noColour);
    }

    private static PrintStream utf8(OutputStream stream) {
        return new PrintStream(stream, true, StandardCharsets.UTF_8);
    }

    String bold(String text) {
        return styled("1", text);
    }

    String good(String text) {
        return styled("32", text);
    }

    String bad(String text) {
        return styled("31;1", text);
    }

    private String styled(String style, String text) {
        return colour ? "\033[" + style + "m" + text + "\033[0m" : text;
    }
}
