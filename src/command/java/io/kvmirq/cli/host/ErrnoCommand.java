/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.Errno;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.Answers;
import io.kvmirq.explain.Condition;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.text.Foreign;
import io.kvmirq.uapi.Names;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq errno}: explains the errno of a call and what to check next, without a call to KVM. */
public final class ErrnoCommand implements Command {
    @Override
    public void describe(Usage usage) {
        usage.description("Prints the possible causes of ERRNO from CALL, most likely first, and what to check"
                        + " next. ERRNO is a name or a number; 0 is an unexpected success. Add the conditions that"
                        + " you know, to rule out causes. Does not call KVM. Exits with 1 if no cause is known.")
                .footer(footer());
        usage.add(Command.parameter("0", "0..1", "CALL")
                .hideParamSyntax(true)
                .completionCandidates(typedCalls())
                .description("A call; see below."));
        usage.add(Command.parameter("1", "0..1", "ERRNO")
                .hideParamSyntax(true)
                .description("Its errno, such as EBUSY or 16."));
        usage.add(Command.parameters("2..*", "0..*", "KNOWN")
                .completionCandidates(
                        Arrays.stream(Condition.values()).map(Condition::label).toList())
                .description("A known condition; see below."));
        usage.add(Command.json());
    }

    private static String[] footer() {
        List<String> lines = new ArrayList<>(
                List.of("", "Calls: " + calls() + ", or the kernel's names, such as KVM_IRQFD.", "", "Known:"));
        for (Condition fact : Condition.values()) {
            lines.add(String.format("  %-12s %s", fact.label(), fact.text()));
        }
        lines.addAll(List.of("", "Example: kvmirq errno irqfd EINVAL level split"));
        return lines.toArray(String[]::new);
    }

    private static String calls() {
        return String.join(", ", typedCalls());
    }

    private static List<String> typedCalls() {
        return Arrays.stream(KernelCall.values())
                .map(call -> call.label().replace(' ', '-'))
                .toList();
    }

    private record Question(KernelCall call, int errno, Set<Condition> known) {
        String errnoName() {
            return errno == 0 ? "0" : new Errno(errno).toString();
        }
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        Question question = Commands.read(arguments, () -> question(Command.words(arguments)));
        List<Answer> causes = Answers.find(question.call(), question.errno(), question.known());
        if (arguments.hasMatchedOption("--json")) {
            write(question, causes, terminal);
        } else {
            print(question, causes, terminal);
        }
        return causes.isEmpty() ? ExitCode.FAILED : ExitCode.OK;
    }

    private static Question question(List<String> words) {
        if (words.size() < 2) {
            throw new IllegalArgumentException("expected a call and an errno, such as 'irqfd EBUSY', got "
                    + Foreign.quoted(String.join(" ", words)));
        }
        KernelCall call = KernelCall.parse(words.get(0))
                .orElseThrow(() -> new IllegalArgumentException("call " + Foreign.quoted(words.get(0))
                        + " is unknown: closest are " + String.join(", ", Names.nearest(words.get(0), typedCalls()))));
        int errno = errno(words.get(1));
        Set<Condition> known = EnumSet.noneOf(Condition.class);
        for (String word : words.subList(2, words.size())) {
            Condition fact = Condition.parse(word)
                    .orElseThrow(() -> new IllegalArgumentException(Foreign.quoted(word) + " is not a known condition:"
                            + " expected one of "
                            + Arrays.stream(Condition.values())
                                    .map(Condition::label)
                                    .collect(Collectors.joining(", "))));
            if (call.implied().stream().anyMatch(fact::excludes)) {
                throw new IllegalArgumentException(
                        "'" + fact.label() + "' cannot apply to " + call.label() + ": leave it out");
            }
            known.stream().filter(fact::excludes).findFirst().ifPresent(other -> {
                throw new IllegalArgumentException("'" + fact.label() + "' and '" + other.label()
                        + "' are mutually exclusive: use the one that applies");
            });
            known.add(fact);
        }
        return new Question(call, errno, known);
    }

    private static int errno(String word) {
        OptionalInt number = Errno.numberOf(word);
        if (number.isEmpty()) {
            throw new IllegalArgumentException(Foreign.quoted(word)
                    + " is not an errno: expected a name such as EBUSY, a number from 1 to 4095 or its"
                    + " negative, or 0");
        }
        return number.getAsInt();
    }

    private static void print(Question question, List<Answer> causes, Terminal terminal) {
        String known = question.known().stream().map(Condition::text).collect(Collectors.joining(", "));
        terminal.line(terminal.bold(question.call().label() + ": " + question.errnoName())
                + (known.isEmpty() ? "" : "   given: " + known));
        if (causes.isEmpty()) {
            terminal.line("  no cause is known; see the kernel documentation");
        }
        for (int i = 0; i < causes.size(); i++) {
            Answer cause = causes.get(i);
            terminal.line("  " + (i + 1) + "  " + cause.text());
            if (!cause.conditions().isEmpty()) {
                terminal.line("     if:    " + String.join(", and ", cause.conditions()));
            }
            terminal.line("     check: " + cause.check());
        }
    }

    private static void write(Question question, List<Answer> causes, Terminal terminal) {
        Json.print(terminal, "kvmirq.errno/1", json -> json.value(
                        "call", question.call().label())
                .value("errno", question.errnoName())
                .objects("causes", causes, (object, cause) -> object.value("cause", cause.text())
                        .value("if", cause.conditions())
                        .value("check", cause.check())
                        .value("name", cause.name())
                        .value("grade", cause.grade().label())
                        .value("kernel", cause.grade().kernel())
                        .value("source", cause.source())));
    }
}
