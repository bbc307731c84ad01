/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import picocli.CommandLine.Model.OptionSpec;

/** The grades of {@code --nagios}, with the exit codes of monitoring plugins. */
public enum Nagios {
    OK(0),
    WARNING(1),
    CRITICAL(2),
    UNKNOWN(3);

    /** The name of the option. */
    public static final String OPTION = "--nagios";

    private final int exitCode;

    Nagios(int exitCode) {
        this.exitCode = exitCode;
    }

    /** The option. */
    public static OptionSpec.Builder option() {
        return OptionSpec.builder(OPTION)
                .description(
                        "For monitoring: print one line, and exit with 0 (OK), 1 (WARNING: in doubt, not posted, or a"
                                + " check warns), 2 (CRITICAL: broken, or a check fails) or 3 (UNKNOWN: nothing could be read).");
    }

    /** Prints the line, and returns the exit code. */
    public int print(String text, Terminal terminal) {
        terminal.out().println("KVMIRQ " + name() + ": " + Terminal.printable(text));
        return exitCode;
    }
}
