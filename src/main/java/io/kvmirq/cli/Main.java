/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import java.util.List;

/** Entry point. Starts no parser for {@code --version}. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) {
        int code = run(arguments, Terminal.ofProcess(System.getenv()));
        if (code != ExitCode.OK) {
            System.exit(code);
        }
    }

    static int run(String[] arguments, Terminal terminal) {
        if (arguments.length == 1 && (arguments[0].equals("--version") || arguments[0].equals("-V"))) {
            terminal.out().println(Version.line());
            return ExitCode.OK;
        }
        return new Commands(List.of(new SelftestCommand())).run(arguments, terminal);
    }
}
