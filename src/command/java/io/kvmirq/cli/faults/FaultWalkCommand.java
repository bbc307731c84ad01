/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.faults;

import io.kvmirq.Errno;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq fault-walk}: lists the failing calls that a program survives. */
public final class FaultWalkCommand implements Command {
    private static final List<String> ERRNOS = List.of("EINTR", "EINVAL", "ENOMEM");
    private static final int FIRST = 1;
    private static final int MAX_NTH = 1_000_000;
    private static final int LIMIT_SECONDS = 20;
    private static final int MAX_SECONDS = 3600;

    @Override
    public void describe(Usage usage) {
        List<String> lines = new ArrayList<>(List.of(
                "Runs CMD without a fault to list its ioctls of KVM, VFIO and iommufd. Then runs CMD once for each"
                        + " ioctl and each errno, and makes the first such call fail. CMD has no input, and its"
                        + " output is dropped. If CMD aborts or hangs, the walk shows the first line of its stderr"
                        + " that a run without a fault does not write.",
                "",
                "goes on: CMD ends as without a fault. ends N: CMD ends with another exit code. aborts: a signal ends"
                        + " CMD. hangs: CMD has not ended at the limit. not made: this run did not make the call. Use"
                        + " a CMD that ends by itself, such as a VMM whose guest powers off. If CMD always runs until"
                        + " the limit, 'goes on' means that a vCPU ran after the fault, and 'hangs' that no vCPU ran.",
                "",
                "Exit code 1 when CMD aborts or hangs, and 3 when it cannot be started, aborts without a fault, or"
                        + " makes no such call.",
                ""));
        lines.addAll(FaultCommand.LIMITS);
        usage.description(lines.toArray(String[]::new));
        usage.spec().parser().stopAtPositional(true);
        usage.add(Command.option("--errno", "ERRNO", List.class)
                .auxiliaryTypes(String.class)
                .splitRegex(",")
                .description("Errnos, separated by commas (default " + String.join(",", ERRNOS) + ")."));
        usage.add(Command.option("--call", "CALL", List.class)
                .auxiliaryTypes(String.class)
                .splitRegex(",")
                .description("Make only these calls fail, separated by commas."));
        usage.add(Command.option("--nth", "N", Integer.class)
                .description("Make the Nth call of each ioctl fail (default " + FIRST + ")."));
        usage.add(Command.option("--limit", "SECONDS", Integer.class)
                .description("Kill CMD after this time (default " + LIMIT_SECONDS + ")."));
        usage.add(Command.json());
        usage.add(Command.parameters("0..*", "0..*", "CMD")
                .description("The program to run and its arguments. Write -- before it."));
    }

    private record Question(List<Errno> errnos, Set<Long> requests, int nth, Duration limit) {}

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        List<String> command = Command.words(arguments);
        if (command.isEmpty()) {
            throw new ParameterException(arguments.commandSpec().commandLine(), "Give a program: -- CMD");
        }
        Question question = Commands.read(arguments, () -> question(arguments));
        try (FaultedProgram program = new FaultedProgram(command)) {
            return walk(new Walk(program, question.limit()), question, arguments.hasMatchedOption("--json"), terminal);
        }
    }

    private static Question question(ParseResult arguments) {
        List<String> errnos = arguments.matchedOptionValue("--errno", ERRNOS);
        List<String> calls = arguments.matchedOptionValue("--call", List.of());
        return new Question(
                errnos.stream().map(FaultRule::errno).toList(),
                calls.stream().map(Requests::number).collect(Collectors.toSet()),
                inRange("--nth", FIRST, MAX_NTH, arguments),
                Duration.ofSeconds(inRange("--limit", LIMIT_SECONDS, MAX_SECONDS, arguments)));
    }

    private static int inRange(String option, int usual, int max, ParseResult arguments) {
        int value = arguments.matchedOptionValue(option, usual);
        if (value < 1 || value > max) {
            throw new IllegalArgumentException(option + " " + value + " is out of range: expected 1 to " + max);
        }
        return value;
    }

    private static int walk(Walk walk, Question question, boolean json, Terminal terminal) {
        Ended unfaulted = walk.unfaulted();
        if (unfaulted.bySignal() && !unfaulted.late()) {
            terminal.complain("without a fault " + unfaulted.signal() + " ends the program" + said(unfaulted));
            return ExitCode.COULD_NOT_RUN;
        }
        List<Walk.Call> calls = walk.calls().stream()
                .filter(call ->
                        question.requests().isEmpty() || question.requests().contains(call.request()))
                .toList();
        if (calls.isEmpty()) {
            terminal.complain("nothing can fail: the program makes "
                    + (question.requests().isEmpty() ? "no ioctl of KVM, VFIO or iommufd" : "none of these calls")
                    + said(unfaulted));
            return ExitCode.COULD_NOT_RUN;
        }
        WalkText text = new WalkText(terminal, question.errnos(), calls);
        if (!json) {
            text.head();
        }
        Stream<Walk.Row> run = calls.stream().map(call -> walk.run(call, question.errnos(), question.nth()));
        List<Walk.Row> rows = run.peek(row -> {
                    if (!json) {
                        text.row(row);
                    }
                })
                .toList();
        if (json) {
            write(rows, unfaulted, question, terminal);
        } else {
            text.end();
        }
        return rows.stream().flatMap(row -> row.outcomes().stream()).anyMatch(outcome -> outcome.kind()
                        .isBad())
                ? ExitCode.FAILED
                : ExitCode.OK;
    }

    private static String said(Ended unfaulted) {
        List<String> lines = unfaulted.said();
        return lines.isEmpty() ? "" : "; it says: " + lines.get(lines.size() - 1);
    }

    private static void write(List<Walk.Row> rows, Ended unfaulted, Question question, Terminal terminal) {
        Json.print(terminal, "kvmirq.fault-walk/1", json -> json.flag("endsByItself", !unfaulted.late())
                .number("exitCode", unfaulted.exitCode())
                .number("nth", question.nth())
                .objects("calls", rows, (one, row) -> one.text(
                                "call", row.call().name())
                        .number("times", row.call().times())
                        .objects("faults", outcomes(row, question), (each, fault) -> each.text(
                                        "errno", fault.errno().toString())
                                .text("outcome", fault.outcome().kind().toString())
                                .number("exitCode", fault.outcome().ended().exitCode())
                                .text("said", fault.outcome().said()))));
    }

    private record Fault(Errno errno, Outcome outcome) {}

    private static List<Fault> outcomes(Walk.Row row, Question question) {
        List<Fault> faults = new ArrayList<>();
        for (int i = 0; i < row.outcomes().size(); i++) {
            faults.add(new Fault(question.errnos().get(i), row.outcomes().get(i)));
        }
        return faults;
    }
}
