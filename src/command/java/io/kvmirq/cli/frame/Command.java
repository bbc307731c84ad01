/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.PositionalParamSpec;
import picocli.CommandLine.Model.UsageMessageSpec;
import picocli.CommandLine.ParseResult;

public interface Command {
    /** The options, parameters and long help of a command. */
    record Usage(CommandSpec spec) {
        public UsageMessageSpec description(String... paragraphs) {
            return spec.usageMessage().description(paragraphs);
        }

        public void add(OptionSpec.Builder option) {
            spec.addOption(option.build());
        }

        public void add(PositionalParamSpec.Builder parameter) {
            spec.addPositional(parameter.build());
        }
    }

    /** Called only for the command that was named. */
    void describe(Usage usage);

    /** All positional arguments as typed, in order. */
    static List<String> words(ParseResult arguments) {
        return arguments.matchedPositionalsSet().stream()
                .flatMap(parameter -> parameter.stringValues().stream())
                .toList();
    }

    /** Takes an object: for an enum the verifier would load its class at each start of the command line. */
    static String label(Object constant) {
        return constant.toString().toLowerCase(Locale.ROOT);
    }

    static List<String> labels(Object[] all) {
        return Arrays.stream(all).map(Command::label).toList();
    }

    static OptionSpec.Builder option(String name, String value, Class<?> type) {
        return OptionSpec.builder(name).paramLabel(value).type(type);
    }

    static OptionSpec.Builder json() {
        return OptionSpec.builder("--json").description("Print one JSON document instead of text.");
    }

    static PositionalParamSpec.Builder parameter(String index, String arity, String label) {
        return PositionalParamSpec.builder()
                .index(index)
                .arity(arity)
                .paramLabel(label)
                .type(String.class);
    }

    /** Positional arguments that form a list of words. */
    static PositionalParamSpec.Builder parameters(String index, String arity, String label) {
        return parameter(index, arity, label).type(List.class).auxiliaryTypes(String.class);
    }

    int run(ParseResult arguments, Terminal terminal);
}
