/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import java.util.List;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;

/** One sub-command. */
public interface Command {
    String name();

    /** One line for the list of commands. */
    String summary();

    /** Adds options, parameters and long help; called only for the command that was named. */
    void describe(CommandSpec spec);

    /** All positional arguments as typed, in order. */
    static List<String> words(ParseResult arguments) {
        return arguments.matchedPositionalsSet().stream()
                .flatMap(parameter -> parameter.stringValues().stream())
                .toList();
    }

    /** @return the exit code */
    int run(ParseResult arguments, Terminal terminal);
}
