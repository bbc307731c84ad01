/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import io.kvmirq.arch.Format;
import io.kvmirq.arch.Violation;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.Terminal;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq decode}: prints the fields of a hardware structure, without a call to KVM. */
public final class DecodeCommand implements Command {
    private static final String HIGH_FIRST = "--high-first";
    private static final String JSON = "--json";

    @Override
    public void describe(Usage usage) {
        List<String> footer = new ArrayList<>(List.of("", "Kinds:"));
        footer.addAll(Formats.lines(Formats.ALL));
        footer.addAll(List.of(
                "",
                "Debugfs files:",
                "  vgic-state          non-idle VGIC interrupts, and LPIs that GICv4 delivers",
                "  vgic-its-state      events that an ITS translates or GICv4 delivers"));
        footer.addAll(List.of(
                "",
                "Examples:",
                "  kvmirq decode irte.vtd.posted 0x28ab000000318001 0x0000000100043b01",
                "  kvmirq decode vgic-state " + FileSentence.DEBUGFS + "/kvm/1234-11/vgic-state"));
        usage.spec()
                .usageMessage()
                .customSynopsis(
                        "kvmirq decode [--high-first] [--json] KIND HEX...",
                        "       kvmirq decode [--json] " + String.join("|", DebugfsFile.KINDS) + " FILE",
                        "       kvmirq decode --batch [FILE]")
                .description(
                        "Prints each field of a structure: bit range, names in the manual and the kernel, value and"
                                + " meaning. Then lists violations of the manual, and exits with 1 if there are any."
                                + " Words are hex, with or without 0x, lowest address first. Does not call KVM.",
                        "",
                        "For a debugfs kind, pass a FILE instead of words, or - for standard input."
                                + " On an arm64 host, FILE is "
                                + FileSentence.DEBUGFS
                                + "/kvm/TID-FD/vgic-state or, since Linux 6.16, vgic-its-state@BASE beside it, while"
                                + " the VM runs. TID is the id of the thread that created the VM; in a Java VMM, it"
                                + " differs from the process id. Only root can read the file. While printing it, the"
                                + " kernel holds a lock that VM setup also takes.",
                        "",
                        "With --batch, reads JSON lines such as {\"kind\":\"gatag\",\"words\":[\"0x00001001\"]}"
                                + " from FILE or standard input, and writes each line with its fields, violations and"
                                + " remarks. Violations then do not affect the exit code. The first bad line ends the"
                                + " command.")
                .footer(footer.toArray(String[]::new));
        usage.add(Formats.parameter(Formats.ALL, DebugfsFile.KINDS));
        usage.add(Command.parameters("1..*", "0..*", "HEX|FILE")
                .hideParamSyntax(true)
                .description("Words of the structure, or a debugfs file."));
        usage.add(OptionSpec.builder(HIGH_FIRST)
                .description("Read the words highest address first, as ir_translation_struct prints them."));
        usage.add(OptionSpec.builder(JSON)
                .description("Print one JSON document instead of text: for words, the line that --batch writes; for a"
                        + " file, all its interrupts."));
        usage.add(BatchFile.option());
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        List<String> words = Command.words(arguments);
        boolean highFirst = arguments.hasMatchedOption(HIGH_FIRST);
        try {
            if (arguments.hasMatchedOption(BatchFile.OPTION)) {
                if (highFirst) {
                    throw new IllegalArgumentException("--high-first is for typed words: leave it out with --batch");
                }
                if (words.size() == 2 && DebugfsFile.KINDS.contains(words.get(0))) {
                    throw new IllegalArgumentException(
                            "--batch takes words: expected kvmirq decode [--json] " + words.get(0) + " FILE");
                }
                return BatchFile.run(FormatLines.Direction.DECODE, words, terminal);
            }
            boolean json = arguments.hasMatchedOption(JSON);
            if (!words.isEmpty() && DebugfsFile.KINDS.contains(words.get(0))) {
                if (highFirst) {
                    throw new IllegalArgumentException(
                            "--high-first is for typed words: leave it out with " + words.get(0));
                }
                return DebugfsFile.run(words, json, terminal);
            }
            return decode(words, highFirst, json, terminal);
        } catch (IllegalArgumentException e) {
            terminal.complain(e.getMessage() + BatchFile.end(e) + " See kvmirq decode --help");
            return ExitCode.USAGE;
        }
    }

    private static int decode(List<String> words, boolean highFirst, boolean json, Terminal terminal) {
        if (words.isEmpty()) {
            throw new IllegalArgumentException("expected a kind and its words, such as 'gatag 0x00001001'");
        }
        Format format = Formats.of(words.get(0));
        List<String> texts = new ArrayList<>(words.subList(1, words.size()));
        long[] given = Formats.words(format, texts);
        if (highFirst) {
            Collections.reverse(texts);
            given = Formats.words(format, texts);
        }
        List<Violation> violations =
                json ? FormatLines.print(format, given, terminal) : FormatText.print(format, given, terminal);
        return violations.isEmpty() ? ExitCode.OK : ExitCode.FAILED;
    }
}
