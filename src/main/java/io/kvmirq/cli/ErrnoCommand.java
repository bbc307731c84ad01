/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import io.kvmirq.Errno;
import io.kvmirq.explain.Cause;
import io.kvmirq.explain.Causes;
import io.kvmirq.explain.Fact;
import io.kvmirq.explain.KernelCall;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.PositionalParamSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq errno}: what an errno of a call means, and what to look at next. Asks no kernel. */
final class ErrnoCommand implements Command {
    @Override
    public String name() {
        return "errno";
    }

    @Override
    public String summary() {
        return "Explain what an errno of a KVM or VFIO call means.";
    }

    @Override
    public void describe(CommandSpec spec) {
        spec.usageMessage()
                .description(
                        "Says why the kernel answered CALL with ERRNO, likeliest cause first, and what to look at next."
                                + " ERRNO is a name or a number, 0 for a success that surprises. What is known of the state"
                                + " rules causes out. Asks no kernel. Exit code 1 when nothing is known of the pair.")
                .footer(footer());
        spec.addPositional(PositionalParamSpec.builder()
                .index("0..*")
                .arity("0..*")
                .paramLabel("CALL ERRNO [KNOWN]")
                .type(List.class)
                .auxiliaryTypes(String.class)
                .description("A call and an errno, then what is known; see below.")
                .build());
        spec.addOption(OptionSpec.builder("--json")
                .description("Print one JSON document instead of text.")
                .build());
    }

    private static String[] footer() {
        List<String> lines = new ArrayList<>(
                List.of("", "Calls: " + calls() + ", or the kernel's names, such as KVM_IRQFD.", "", "Known:"));
        for (Fact fact : Fact.values()) {
            lines.add(String.format("  %-12s %s", fact.label(), fact.text()));
        }
        lines.addAll(List.of("", "Example: kvmirq errno irqfd EINVAL level split"));
        return lines.toArray(String[]::new);
    }

    private static String calls() {
        return Arrays.stream(KernelCall.values())
                .map(call -> typed(call.label()))
                .collect(Collectors.joining(", "));
    }

    private static String typed(String label) {
        return label.replace(' ', '-');
    }

    private record Question(KernelCall call, int errno, Set<Fact> known) {
        String errnoName() {
            return errno == 0 ? "0" : new Errno(errno).toString();
        }
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        List<String> words = arguments.matchedPositionalValue(0, List.of());
        Question question;
        try {
            question = question(words);
        } catch (IllegalArgumentException e) {
            terminal.err().println("kvmirq: " + e.getMessage() + ". See kvmirq errno --help");
            return ExitCode.USAGE;
        }
        List<Cause> causes = Causes.of(question.call(), question.errno(), question.known());
        if (arguments.hasMatchedOption("--json")) {
            write(question, causes, terminal);
        } else {
            print(question, causes, terminal);
        }
        return causes.isEmpty() ? ExitCode.FAILED : ExitCode.OK;
    }

    private static Question question(List<String> words) {
        if (words.size() < 2) {
            throw new IllegalArgumentException(
                    "expected a call and an errno, such as 'irqfd EBUSY', got '" + String.join(" ", words) + "'");
        }
        KernelCall call = KernelCall.of(words.get(0))
                .orElseThrow(() -> new IllegalArgumentException(
                        "call '" + words.get(0) + "' is unknown: expected one of " + calls()));
        Set<Fact> known = EnumSet.noneOf(Fact.class);
        for (String word : words.subList(2, words.size())) {
            Fact fact = Fact.of(word)
                    .orElseThrow(() -> new IllegalArgumentException("'" + word + "' is nothing that can be known:"
                            + " expected one of "
                            + Arrays.stream(Fact.values()).map(Fact::label).collect(Collectors.joining(", "))));
            known.stream().filter(fact::excludes).findFirst().ifPresent(other -> {
                throw new IllegalArgumentException("'" + fact.label() + "' and '" + other.label()
                        + "' exclude each other: give the one that is so");
            });
            known.add(fact);
        }
        return new Question(call, errno(words.get(1)), known);
    }

    private static int errno(String word) {
        OptionalInt number = Errno.numberOf(word);
        if (number.isEmpty()) {
            throw new IllegalArgumentException("'" + word
                    + "' is no errno: expected a name such as EBUSY, a number from 1 to 4095 or its negative, or 0");
        }
        return number.getAsInt();
    }

    private static void print(Question question, List<Cause> causes, Terminal terminal) {
        String known = question.known().stream().map(Fact::text).collect(Collectors.joining(", "));
        terminal.out()
                .println(terminal.bold(question.call().label() + ": " + question.errnoName())
                        + (known.isEmpty() ? "" : "   given: " + known));
        if (causes.isEmpty()) {
            terminal.out().println("  nothing is known of this pair; the kernel's own documentation may say more");
        }
        for (int i = 0; i < causes.size(); i++) {
            Cause cause = causes.get(i);
            terminal.out().println("  " + (i + 1) + "  " + cause.text());
            if (!cause.needs().isEmpty()) {
                terminal.out().println("     if:    " + String.join(", and ", cause.conditions()));
            }
            terminal.out().println("     check: " + cause.check());
        }
    }

    private static void write(Question question, List<Cause> causes, Terminal terminal) {
        try (JsonGenerator json =
                new JsonFactory().createGenerator(terminal.out()).disable(JsonGenerator.Feature.AUTO_CLOSE_TARGET)) {
            json.writeStartObject();
            json.writeStringField("schema", "kvmirq.errno/1");
            json.writeStringField("call", question.call().label());
            json.writeStringField("errno", question.errnoName());
            json.writeArrayFieldStart("causes");
            for (Cause cause : causes) {
                json.writeStartObject();
                json.writeStringField("cause", cause.text());
                json.writeArrayFieldStart("if");
                for (String condition : cause.conditions()) {
                    json.writeString(condition);
                }
                json.writeEndArray();
                json.writeStringField("check", cause.check());
                json.writeArrayFieldStart("rules");
                for (String rule : cause.rules()) {
                    json.writeString(rule);
                }
                json.writeEndArray();
                json.writeEndObject();
            }
            json.writeEndArray();
            json.writeEndObject();
            json.writeRaw('\n');
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
