/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.recording.tapes.TapeException;
import io.kvmirq.text.Foreign;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq tape}: records the kernel calls of another program and prints one line for each. */
public final class TapeCommand implements Command {
    /** Measured for an ioctl, tracer and program on one processor. */
    private static final int PTRACE_MICROS = 20;

    /** Measured for an ioctl, tracer and program on two processors. */
    public static final int PTRACE_MOST_MICROS = 350;

    private static final int LIMIT_MEBIBYTES = 256;
    /** Room for some windows of the recorder, which has one for each thread. */
    private static final int LEAST_MEBIBYTES = 4;

    private static final int MEBIBYTE = 20;

    static final String PTRACE_COST = PTRACE_MICROS + " to " + PTRACE_MOST_MICROS + " microseconds";

    @Override
    public void describe(Usage usage) {
        usage.description(
                "Runs CMD and prints its calls as they are made, one line each, mixed with the output of CMD. A"
                        + " descriptor is printed as the name of its file, such as vm#1 or eventfd#3. The exit code"
                        + " is that of CMD, or 3 when CMD could not be started. On SIGTERM, CMD is stopped and its"
                        + " last calls are printed. Root is needed only if CMD needs it.",
                "",
                "The tape holds the arguments of the calls, with zeros for known pointers. It holds no guest memory,"
                        + " unlike a tape of selftest --record.",
                "",
                "Not recorded without --ptrace: raw system calls, statically linked programs (Go), programs of a user"
                        + " who cannot read the recorder, and most calls in a chroot without /proc. Never recorded:"
                        + " select, epoll_wait, close_range. A seccomp allow-list may kill CMD for a system call of"
                        + " the recorder. A signal handler of CMD needs 8 KB of stack. Processes are not recorded"
                        + " either if they cannot open /proc/PID/fd of this command, because they dropped"
                        + " capabilities or are in another PID or user namespace; forks of a recorded process are"
                        + " recorded.",
                "",
                "Calls stay in memory until they are printed or written, up to --limit. Without --ptrace this memory"
                        + " is charged to the cgroup of CMD: if memory.max is small, set a lower --limit. When this"
                        + " command is killed without --ptrace, CMD runs on and is no longer recorded.");
        usage.spec().parser().stopAtPositional(true);
        usage.add(OptionSpec.builder("-o", "--output")
                .paramLabel("FILE")
                .type(Path.class)
                .description("Write the tape to FILE as lines of JSON while CMD runs, and print nothing. An earlier"
                        + " file of yours is replaced by one that only you may read. --show and kvmirq replay read"
                        + " FILE. Processes that CMD leaves running are recorded too: the command ends when they end,"
                        + " or at Ctrl-C."));
        usage.add(OptionSpec.builder("--ptrace")
                .description("Record by ptrace, also a statically linked program. Each recorded call takes about "
                        + PTRACE_COST + " longer, so threads may run in another order. Not recorded: readv, writev"
                        + " and similar calls, openat2, reads and writes of more than 512 bytes, pread and pwrite of"
                        + " more than 8, calls of 32-bit programs, and calls that a seccomp filter of CMD refuses. In"
                        + " a child that CMD makes with CLONE_UNTRACED, calls that a tape would record fail with"
                        + " ENOSYS. An ignored signal ends a wait of CMD with EINTR. Set-user-id programs give CMD no"
                        + " other rights, and no debugger can attach. The command ends when all processes of CMD have"
                        + " ended, and kills them when it is killed."));
        usage.add(Command.option("--limit", "MIB", String.class)
                .description("Memory for calls that wait to be printed or written, in MiB: " + LIMIT_MEBIBYTES
                        + " without this option. When the limit is reached the tape ends, and CMD runs on."));
        usage.add(Command.option("--show", "FILE", Path.class)
                .description("Print the tape in FILE and run nothing. Exit code 1 when FILE is not a complete tape."));
        usage.add(Command.parameters("0..*", "0..*", "CMD")
                .description("The program to run and its arguments. Write -- before it."));
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        List<String> command = arguments.matchedPositionalValue(0, List.of());
        Optional<Path> shown = Optional.ofNullable(arguments.matchedOptionValue("--show", null));
        Optional<Path> output = Optional.ofNullable(arguments.matchedOptionValue("--output", null));
        CommandLine line = arguments.commandSpec().commandLine();
        if (shown.isPresent() == !command.isEmpty()) {
            throw new ParameterException(line, "Give either CMD or --show FILE");
        }
        if (shown.isPresent() && output.isPresent()) {
            throw new ParameterException(line, "--output needs a CMD and excludes --show");
        }
        String limit = arguments.matchedOptionValue("--limit", Integer.toString(LIMIT_MEBIBYTES));
        int mebibytes = limit.matches("\\d{1,9}") ? Integer.parseInt(limit) : 0;
        if (mebibytes < LEAST_MEBIBYTES) {
            throw new ParameterException(
                    line,
                    "--limit is " + Foreign.quoted(limit) + ": expected " + LEAST_MEBIBYTES
                            + " to 999999999 MiB, such as 64");
        }
        try {
            return shown.map(file -> show(file, terminal))
                    .orElseGet(() -> record(
                            command,
                            (long) mebibytes << MEBIBYTE,
                            arguments.hasMatchedOption("--ptrace"),
                            output,
                            terminal));
        } catch (TapeException e) {
            terminal.complain(e.getMessage());
            return ExitCode.FAILED;
        } catch (TapeFileException e) {
            terminal.complain(e.getMessage());
            return ExitCode.COULD_NOT_RUN;
        }
    }

    private static int show(Path file, Terminal terminal) {
        TapePrinter printer = new TapePrinter(terminal);
        boolean complete = printer.show(file);
        if (printer.lines() == 0) {
            terminal.complain(FileSentence.shown(file)
                    + " is empty: no program wrote to it, or its recorder was killed before it did");
        } else if (!complete) {
            terminal.complain(FileSentence.shown(file) + " is incomplete: it has no end, as of a recorder that was"
                    + " killed; calls after the last line may be missing");
        }
        return complete && printer.lines() > 0 ? ExitCode.OK : ExitCode.FAILED;
    }

    // Recording

    private static int record(
            List<String> command, long limit, boolean traced, Optional<Path> output, Terminal terminal) {
        try (TapedProgram program = new TapedProgram(command, limit, traced, terminal)) {
            try (TemporaryTape tape = TemporaryTape.create()) {
                return output.map(file -> program.runAndFinish(tape, file.toAbsolutePath()))
                        .orElseGet(() -> program.runAndPrint(tape));
            }
        }
    }
}
