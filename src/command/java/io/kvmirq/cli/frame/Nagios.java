/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import io.kvmirq.diag.Finding;
import io.kvmirq.path.Known;
import io.kvmirq.text.Foreign;
import picocli.CommandLine.Model.OptionSpec;

/** The grades of {@code --nagios}, with the exit codes of monitoring plugins. */
public enum Nagios {
    OK(0, "nothing visible is broken or in doubt"),
    WARNING(1, "in doubt, not posted though possible, or a check warns"),
    CRITICAL(2, "broken, or a check fails"),
    UNKNOWN(3, "nothing could be read, files hidden, or a usage error");

    /** The name of the option. */
    public static final String OPTION = "--nagios";

    private final int exitCode;
    private final String meaning;

    Nagios(int exitCode, String meaning) {
        this.exitCode = exitCode;
        this.meaning = meaning;
    }

    int exitCode() {
        return exitCode;
    }

    String meaning() {
        return meaning;
    }

    /** The option. */
    public static OptionSpec.Builder option() {
        return OptionSpec.builder(OPTION)
                .description("For monitoring: print one line, and exit with 0 (OK), 1 (WARNING), 2 (CRITICAL) or 3"
                        + " (UNKNOWN); see kvmirq help.");
    }

    /** The grade of a status; of one without a flaw, UNKNOWN if something was hidden that would show a flaw. */
    public static Nagios of(Finding.Status status, boolean hidden) {
        return switch (status) {
            case FAIL -> CRITICAL;
            case WARN -> WARNING;
            case PASS -> hidden ? UNKNOWN : OK;
            case UNKNOWN -> UNKNOWN;
        };
    }

    /** Whether a {@link Known.Reason} says that another user, or one outside of this namespace, sees more. */
    public static boolean isHidden(Object why) {
        return why == Known.Reason.REFUSED || why == Known.Reason.HIDDEN;
    }

    /** Prints the line, and returns the exit code. After a {@code |}, Nagios reads performance data. */
    public int print(String text, Terminal terminal) {
        terminal.out()
                .println("KVMIRQ " + name() + ": " + Foreign.printable(text).replace('|', '?'));
        return exitCode;
    }
}
