/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.KernelException;
import io.kvmirq.backend.BackendUnavailableException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.function.Predicate;
import picocli.AutoComplete;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.UnmatchedArgumentException;

/** The command line: which command was named, with what, and what went wrong. */
final class Commands {
    private static final String COMPLETION = "generate-completion";

    private final List<Command> commands;

    Commands(List<Command> commands) {
        this.commands = commands;
    }

    int run(String[] arguments, Terminal terminal) {
        CommandLine line = commandLine(arguments).setOut(new PrintWriter(terminal.out(), true, StandardCharsets.UTF_8));
        try {
            ParseResult parsed = line.parseArgs(arguments);
            if (CommandLine.printHelpIfRequested(parsed)) {
                return ExitCode.OK;
            }
            return run(parsed, line, terminal);
        } catch (ParameterException e) {
            terminal.err().println(usageError(e));
            return ExitCode.USAGE;
        } catch (BackendUnavailableException | KernelException e) {
            terminal.err().println("kvmirq: " + e.getMessage());
            return ExitCode.COULD_NOT_LOOK;
        }
    }

    private int run(ParseResult parsed, CommandLine line, Terminal terminal) {
        if (!parsed.hasSubcommand()) {
            line.usage(terminal.err());
            return ExitCode.USAGE;
        }
        ParseResult named = parsed.subcommand();
        String name = named.commandSpec().name();
        if (name.equals(COMPLETION)) {
            terminal.out().print(AutoComplete.bash("kvmirq", new CommandLine(root(command -> true))));
            return ExitCode.OK;
        }
        return commands.stream()
                .filter(command -> command.name().equals(name))
                .findFirst()
                .orElseThrow()
                .run(named, terminal);
    }

    private CommandLine commandLine(String[] arguments) {
        List<String> words = Arrays.asList(arguments);
        // Arguments may be another program's: @file is its to expand.
        return new CommandLine(root(command -> words.contains(command.name()))).setExpandAtFiles(false);
    }

    /** The options of a command are built only where {@code wanted}: building all costs every start. */
    private CommandSpec root(Predicate<Command> wanted) {
        CommandSpec root = CommandSpec.create().name("kvmirq");
        root.usageMessage()
                .description("See and wire the interrupts of KVM guests.")
                .footer("", "Exit codes: 0 nothing failed, 1 something did, 2 usage, 3 could not look.");
        root.addOption(help());
        root.addOption(OptionSpec.builder("-V", "--version")
                .versionHelp(true)
                .description("Print version, ABI, Java and kernel, and exit.")
                .build());
        root.version(Version.line());
        for (Command command : commands) {
            CommandSpec spec = CommandSpec.create().name(command.name());
            spec.usageMessage().description(command.summary());
            if (wanted.test(command)) {
                spec.addOption(help());
                command.describe(spec);
            }
            root.addSubcommand(command.name(), spec);
        }
        CommandSpec completion = CommandSpec.create().name(COMPLETION);
        completion.usageMessage().description("Print a completion script for bash and zsh.");
        completion.addOption(help());
        root.addSubcommand(COMPLETION, completion);
        return root;
    }

    private static OptionSpec help() {
        return OptionSpec.builder("-h", "--help")
                .usageHelp(true)
                .description("Print this help and exit.")
                .build();
    }

    private static String usageError(ParameterException e) {
        String command = e.getCommandLine().getCommandSpec().qualifiedName();
        String suggestion = "";
        if (e instanceof UnmatchedArgumentException unmatched
                && !unmatched.getSuggestions().isEmpty()) {
            suggestion = " Did you mean " + unmatched.getSuggestions().get(0) + "?";
        }
        return "kvmirq: " + e.getMessage() + "." + suggestion + " See " + command + " --help";
    }
}
