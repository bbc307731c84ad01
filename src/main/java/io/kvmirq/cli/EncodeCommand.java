/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.PositionalParamSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq encode}: structures of the hardware from named values. Asks no kernel. */
final class EncodeCommand implements Command {
    @Override
    public String name() {
        return "encode";
    }

    @Override
    public String summary() {
        return "Make the words of an IRTE, a posted-interrupt descriptor, an MSI and the like.";
    }

    @Override
    public void describe(CommandSpec spec) {
        List<String> footer = new ArrayList<>(List.of("", "Kinds:"));
        footer.addAll(Formats.lines(
                Formats.ALL.stream().filter(format -> !format.isDecodeOnly()).toList()));
        spec.usageMessage()
                .description("Reads lines of JSON such as"
                        + " {\"kind\":\"gatag\",\"fields\":{\"vm_id\":\"0x1\",\"vcpu_idx\":\"0x1\"}} from FILE or"
                        + " standard input and writes each with its words and violations. kvmirq decode --batch shows"
                        + " which fields a kind has; those named derived_ follow from others and are ignored. The first bad"
                        + " line ends it. Asks no kernel.")
                .footer(footer.toArray(String[]::new));
        spec.addPositional(PositionalParamSpec.builder()
                .index("0..*")
                .arity("0..*")
                .paramLabel("FILE")
                .type(List.class)
                .auxiliaryTypes(String.class)
                .hideParamSyntax(true)
                .description("Lines of JSON; standard input if not given or -.")
                .build());
        spec.addOption(BatchFile.option());
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        try {
            if (!arguments.hasMatchedOption(BatchFile.OPTION)) {
                throw new IllegalArgumentException("expected --batch: fields are read as lines of JSON");
            }
            return BatchFile.run(
                    FormatLines.Direction.ENCODE, arguments.matchedPositionalValue(0, List.of()), terminal);
        } catch (IllegalArgumentException e) {
            terminal.err().println("kvmirq: " + e.getMessage() + BatchFile.end(e) + " See kvmirq encode --help");
            return ExitCode.USAGE;
        }
    }
}
