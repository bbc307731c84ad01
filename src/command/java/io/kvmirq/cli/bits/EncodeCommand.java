/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import io.kvmirq.arch.Format;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.text.Foreign;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq encode}: prints the words of a hardware structure from named values, without a call to KVM. */
public final class EncodeCommand implements Command {
    @Override
    public void describe(Usage usage) {
        List<String> footer = new ArrayList<>(List.of("", "Kinds:"));
        footer.addAll(Formats.lines(Formats.ENCODABLE));
        footer.addAll(List.of("", "Example: kvmirq encode gatag vm_id=1 vcpu_idx=3"));
        usage.description(
                        "Computes the words of a structure from its field values, and prints them lowest address"
                                + " first. Then lists violations of the manual, and exits with 1 if there are any."
                                + " Values are hex, with or without 0x. kvmirq decode shows the fields of a kind."
                                + " Fields named derived_... are computed from others, and ignored here. Refuses"
                                + " fields that another field excludes, as hw=1 excludes eoi in a list register. To"
                                + " check the result, run kvmirq decode KIND $(kvmirq encode KIND ...). Does not call"
                                + " KVM.",
                        "",
                        "With --batch, reads JSON lines such as"
                                + " {\"kind\":\"gatag\",\"fields\":{\"vm_id\":\"0x1\",\"vcpu_idx\":\"0x1\"}} from FILE"
                                + " or standard input, and writes each line with its words, violations and remarks."
                                + " Violations then do not affect the exit code. The first bad line ends the command.")
                .footer(footer.toArray(String[]::new));
        usage.add(Formats.parameter(Formats.ENCODABLE, List.of()));
        usage.add(Command.parameters("1..*", "0..*", "FIELD=HEX").description("Field values."));
        usage.add(BatchFile.option());
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        List<String> words = Command.words(arguments);
        try {
            return arguments.hasMatchedOption(BatchFile.OPTION)
                    ? BatchFile.run(FormatLines.Direction.ENCODE, words, terminal)
                    : encode(words, terminal);
        } catch (IllegalArgumentException e) {
            terminal.complain(e.getMessage() + BatchFile.end(e) + " See kvmirq encode --help");
            return ExitCode.USAGE;
        }
    }

    private static int encode(List<String> words, Terminal terminal) {
        if (words.isEmpty()) {
            throw new IllegalArgumentException(
                    "expected a kind and the values of its fields, such as 'gatag vm_id=1 vcpu_idx=3'");
        }
        Format format = Formats.of(words.get(0));
        Map<String, Long> values = new LinkedHashMap<>();
        for (String word : words.subList(1, words.size())) {
            int equals = word.indexOf('=');
            if (equals < 1) {
                throw new IllegalArgumentException(
                        Foreign.quoted(word) + " is not a field: expected FIELD=HEX, such as vm_id=1");
            }
            // Makes a name printable for error sentences. Valid names do not change.
            String name = Foreign.printable(word.substring(0, equals), word.length());
            long value = Hex.parse(word.substring(equals + 1), "field '" + name + "' of " + format.kind(), Long.SIZE);
            if (values.put(name, value) != null) {
                throw new IllegalArgumentException("field '" + name + "' is given twice");
            }
        }
        long[] bits = format.encode(values);
        terminal.line(Arrays.stream(format.words(bits))
                .mapToObj(word -> Hex.padded(word, format.wordBits()))
                .collect(Collectors.joining(" ")));
        return FormatText.printViolations(format, bits, terminal).isEmpty() ? ExitCode.OK : ExitCode.FAILED;
    }
}
