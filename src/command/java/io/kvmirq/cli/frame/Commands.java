/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import io.kvmirq.KernelException;
import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.explain.ProcessLimit;
import io.kvmirq.text.Foreign;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.AutoComplete;
import picocli.CommandLine;
import picocli.CommandLine.Help;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.UsageMessageSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.TypeConversionException;
import picocli.CommandLine.UnmatchedArgumentException;

/** Parses the command line, runs the named command and reports usage errors. */
public record Commands(List<Named> commands) {
    /** The readers of the help, in the order of its lists. */
    public enum Audience {
        ADMINISTRATORS("For host administrators:"),
        AUTHORS("For VMM authors:"),
        TESTERS("For host and VMM testers:"),
        ALL("For everyone:");

        private final String heading;

        Audience(String heading) {
            this.heading = heading;
        }
    }

    /** A command, with its line in the list of its audience. */
    public record Named(Audience audience, String name, String summary, Command command) {}

    private static final String COMPLETION = "generate-completion";
    private static final String HELP = "help";

    /** Hidden from users: {@code make install} runs it. */
    private static final String FILES = "generate-files";

    /** Printed without a command. */
    private static final String FIRST_STEPS = """
            kvmirq shows and wires KVM guest interrupts. Start with a command:
              kvmirq doctor      shows what is wrong with this host, and how to fix it
              kvmirq selftest    sends interrupts to a guest; without KVM: --backend fake
              kvmirq list        lists guests; explain shows where an interrupt goes
              kvmirq help        lists all commands
            """;

    private static final List<String> HOST = List.of("--fake", "--root", "--from");

    /** A width at which the parser breaks no line: it would also break at punctuation. */
    private static final int UNBROKEN = 9999;

    /** The characters of a file's name that a hint repeats. */
    private static final int LONGEST_HINT = 1000;

    /** Smallest width at which options and descriptions fit side by side. */
    private static final int LEAST_COLUMNS = 55;

    /** Reads arguments. An IllegalArgumentException of {@code read} is a usage error. */
    public static <T> T read(ParseResult arguments, Supplier<T> read) {
        try {
            return read.get();
        } catch (IllegalArgumentException e) {
            throw new ParameterException(arguments.commandSpec().commandLine(), String.valueOf(e.getMessage()), e);
        }
    }

    public int run(String[] given, Terminal of) {
        Terminal terminal = of;
        CommandLine.tracer().setLevel(CommandLine.TraceLevel.OFF); // picocli warns on stderr, with the words as typed
        String[] arguments = withHelpAsOption(given);
        CommandLine line = commandLine(arguments)
                .registerConverter(Path.class, Commands::path)
                .registerConverter(Integer.class, Commands::number)
                .registerConverter(Long.class, text -> (long) number(text))
                .setUsageHelpWidth(UNBROKEN);
        try {
            ParseResult parsed = line.parseArgs(arguments);
            requireMatched(parsed);
            StringWriter help = new StringWriter();
            line.setOut(new PrintWriter(help));
            if (CommandLine.printHelpIfRequested(parsed)) {
                printHelp(help.toString(), of.wrapping(Math.max(LEAST_COLUMNS, of.columns())));
                return ExitCode.OK;
            }
            if (parsed.hasSubcommand()) {
                terminal = of.at(host(parsed.subcommand()));
            }
            return run(parsed, terminal);
        } catch (ParameterException e) {
            return refuse(usageError(e), ExitCode.USAGE, arguments, terminal);
        } catch (UnreadableInputException | BackendUnavailableException | KernelException | UncheckedIOException e) {
            return refuse(String.valueOf(e.getMessage()), ExitCode.COULD_NOT_RUN, arguments, terminal);
        } catch (RuntimeException | Error e) {
            Optional<String> limit = ProcessLimit.behind(e);
            if (limit.isEmpty()) {
                throw e;
            }
            return refuse("could not run: " + limit.get(), ExitCode.COULD_NOT_RUN, arguments, terminal);
        }
    }

    /** Monitoring reads only stdout, and takes exit code 2 for a fault of the host. */
    private static int refuse(String why, int exitCode, String[] arguments, Terminal terminal) {
        if (Arrays.asList(arguments).contains(Nagios.OPTION)) {
            return Nagios.UNKNOWN.print(why, terminal);
        }
        terminal.complain(why);
        return exitCode;
    }

    /** The options that chose another host, as typed, each after a space, for remedies. */
    public static String host(ParseResult arguments) {
        return HOST.stream()
                .filter(arguments::hasMatchedOption)
                .map(name -> " " + name + " "
                        + Foreign.printable(
                                arguments
                                        .matchedOption(name)
                                        .originalStringValues()
                                        .get(0),
                                LONGEST_HINT))
                .collect(Collectors.joining());
    }

    /** With {@code --help} the parser does not refuse unknown words. */
    private static void requireMatched(ParseResult parsed) {
        if (parsed.hasSubcommand()) {
            requireMatched(parsed.subcommand());
        } else if (!parsed.unmatched().isEmpty()) {
            throw new UnmatchedArgumentException(parsed.commandSpec().commandLine(), parsed.unmatched());
        }
    }

    private int run(ParseResult parsed, Terminal terminal) {
        if (!parsed.hasSubcommand()) {
            terminal.err().print(FIRST_STEPS);
            return ExitCode.USAGE;
        }
        ParseResult named = parsed.subcommand();
        String name = named.commandSpec().name();
        if (name.equals(COMPLETION)) {
            terminal.out().print(AutoComplete.bash("kvmirq", all()));
            return ExitCode.OK;
        }
        if (name.equals(FILES)) {
            return writeFiles(Path.of(named.matchedPositionalValue(0, "")), terminal);
        }
        return commands.stream()
                .filter(command -> command.name().equals(name))
                .findFirst()
                .orElseThrow()
                .command()
                .run(named, terminal);
    }

    private CommandLine all() {
        return new CommandLine(root(name -> true));
    }

    private int writeFiles(Path directory, Terminal terminal) {
        Map<String, String> summaries = new HashMap<>();
        CommandLine undescribed = new CommandLine(root(name -> false));
        summaries.put(undescribed.getCommandName(), summary(undescribed));
        undescribed.getSubcommands().forEach((name, command) -> summaries.put(name, summary(command)));
        try {
            InstalledFiles.write(directory, all(), summaries);
            return ExitCode.OK;
        } catch (IOException e) {
            terminal.complain(FileSentence.cannotWrite(directory, e));
            return ExitCode.COULD_NOT_RUN;
        }
    }

    private static String summary(CommandLine command) {
        return command.getCommandSpec().usageMessage().description()[0];
    }

    /** Turns {@code help list} into {@code list --help}. */
    private String[] withHelpAsOption(String[] arguments) {
        if (arguments.length == 0 || !arguments[0].equals(HELP)) {
            return arguments;
        }
        if (arguments.length == 1 || arguments[1].startsWith("-")) {
            return new String[] {"--help"};
        }
        String name = arguments[1];
        boolean known = name.equals(COMPLETION)
                || name.equals(HELP)
                || commands.stream().anyMatch(command -> command.name().equals(name));
        // The parser refuses an unknown name and suggests the nearest command.
        return known ? new String[] {name, "--help"} : new String[] {name};
    }

    private CommandLine commandLine(String[] arguments) {
        // The parser makes a converter of each type for each command, which takes most of a start: one that is named
        // first is the only one.
        Optional<Named> first = commands.stream()
                .filter(command -> arguments.length > 0 && command.name().equals(arguments[0]))
                .findFirst();
        List<String> words = Arrays.asList(arguments);
        CommandSpec root =
                first.isEmpty() ? root(words::contains) : CommandSpec.create().name("kvmirq");
        first.ifPresent(named -> add(root, named, true));
        // A word such as @file is what it says.
        CommandLine line = new CommandLine(root).setExpandAtFiles(false);
        line.getHelpSectionMap().put(UsageMessageSpec.SECTION_KEY_COMMAND_LIST_HEADING, help -> "");
        line.getHelpSectionMap().put(UsageMessageSpec.SECTION_KEY_COMMAND_LIST, this::lists);
        return line;
    }

    /** The commands of each audience. */
    private String lists(Help help) {
        StringBuilder lists = new StringBuilder();
        for (Audience audience : Audience.values()) {
            Map<String, Help> shown = new LinkedHashMap<>(help.subcommands());
            shown.keySet()
                    .removeIf(name -> audience
                            != commands.stream()
                                    .filter(command -> command.name().equals(name))
                                    .map(Named::audience)
                                    .findFirst()
                                    .orElse(Audience.ALL));
            if (!shown.isEmpty()) {
                lists.append(audience.heading).append(System.lineSeparator()).append(help.commandList(shown));
            }
        }
        return lists.toString();
    }

    private static void add(CommandSpec root, Named command, boolean described) {
        CommandSpec spec = CommandSpec.create().name(command.name());
        spec.usageMessage().description(command.summary());
        if (described) {
            spec.addOption(help());
            command.command().describe(new Command.Usage(spec));
        }
        root.addSubcommand(command.name(), spec);
    }

    /** Builds options only for the commands that are {@code wanted}: building all slows every start. */
    private CommandSpec root(Predicate<String> wanted) {
        CommandSpec root = CommandSpec.create().name("kvmirq");
        root.usageMessage()
                .description("See and wire KVM guest interrupts.")
                .footer(Stream.concat(Stream.of("", "Exit codes:"), ExitCode.table().stream())
                        .toArray(String[]::new));
        root.addOption(help());
        root.addOption(OptionSpec.builder("-V", "--version")
                .versionHelp(true)
                .description("Print the versions of kvmirq, its ABI, Java and the kernel, and exit.")
                .build());
        root.version(Version.line());
        commands.forEach(command -> add(root, command, wanted.test(command.name())));
        CommandSpec help = CommandSpec.create().name(HELP);
        help.usageMessage().description("Print a command's help.");
        help.addOption(help());
        help.addPositional(Command.parameter("0", "0..1", "COMMAND")
                .completionCandidates(commands.stream().map(Named::name).toList())
                .description("A command (default: kvmirq itself).")
                .build());
        root.addSubcommand(HELP, help);
        CommandSpec completion = CommandSpec.create().name(COMPLETION);
        completion.usageMessage().description("Print a completion script for bash and zsh.");
        completion.addOption(help());
        root.addSubcommand(COMPLETION, completion);
        CommandSpec files = CommandSpec.create().name(FILES);
        files.usageMessage().hidden(true).description("Write manual pages and completions.");
        files.addPositional(Command.parameter("0", "1", "DIRECTORY").build());
        root.addSubcommand(FILES, files);
        return root;
    }

    /** Prints help whose lines are not broken yet: a line continues below its description. */
    private static void printHelp(String help, Terminal to) {
        // Not a constant, because a command without --help starts faster without patterns.
        Pattern head = Pattern.compile("Usage: kvmirq( [a-z][a-z-]*)? | *\\S.*? {2,}| *");
        help.lines().forEach(row -> {
            Matcher found = head.matcher(row.replaceAll("\\033\\[[;\\d]*m", ""));
            to.line(row, found.lookingAt() ? found.end() : 0);
        });
    }

    private static OptionSpec help() {
        return OptionSpec.builder("-h", "--help")
                .usageHelp(true)
                .description("Print this help and exit.")
                .build();
    }

    /** The parser's error lists all words after an unknown option. */
    private static String message(ParameterException e) {
        List<String> options = e instanceof UnmatchedArgumentException unmatched
                ? unmatched.getUnmatched().stream()
                        .filter(word -> word.startsWith("-"))
                        .toList()
                : List.of();
        if (options.isEmpty() && e instanceof UnmatchedArgumentException unmatched) {
            String first = Foreign.quoted(unmatched.getUnmatched().get(0));
            return e.getCommandLine().getParent() == null
                    ? "there is no command " + first
                    : "argument " + first + " is unexpected";
        }
        return options.isEmpty()
                ? Foreign.shown(String.valueOf(e.getMessage()))
                : "Unknown option" + (options.size() == 1 ? "" : "s") + ": "
                        + Foreign.shown(options.stream().map(Foreign::quoted).collect(Collectors.joining(", ")));
    }

    private static int number(String text) {
        if (!text.matches("-?\\d{1,9}")) {
            throw new TypeConversionException(Foreign.quoted(text) + " is not a whole number of at most 9 digits");
        }
        return Integer.parseInt(text);
    }

    private static Path path(String text) {
        try {
            return Path.of(text);
        } catch (InvalidPathException e) {
            throw new TypeConversionException(Foreign.shown(text) + " is not a valid file name here");
        }
    }

    private static String usageError(ParameterException e) {
        String command = e.getCommandLine().getCommandSpec().qualifiedName();
        String suggestion = "";
        if (e instanceof UnmatchedArgumentException unmatched
                && !unmatched.getSuggestions().isEmpty()) {
            suggestion = " Did you mean " + unmatched.getSuggestions().get(0) + "?";
        }
        return message(e) + "." + suggestion + " See " + command + " --help";
    }
}
