/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import io.kvmirq.arch.Format;
import io.kvmirq.arch.amd.AvicTables;
import io.kvmirq.arch.amd.DeviceTableEntry;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.GaLog;
import io.kvmirq.arch.amd.GaTag;
import io.kvmirq.arch.amd.LegacyIrte;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.IoapicEntry;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.arch.apic.PidPointer;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.gic.HypervisorControl;
import io.kvmirq.arch.gic.IchListRegister;
import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.arch.gic.MachineControl;
import io.kvmirq.arch.gic.Maintenance;
import io.kvmirq.arch.gic.VgicType;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.arch.vtd.RemappableMsi;
import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.arch.vtd.UnitCapabilities;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.text.Foreign;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.Model.PositionalParamSpec;

/** The formats of decode and encode, by kind. */
final class Formats {
    static final List<Format> ALL = List.of(
            RemappedIrte.FORMAT,
            PostedIrte.FORMAT,
            PostedInterruptDescriptor.FORMAT,
            PidPointer.FORMAT,
            RemappableMsi.FORMAT,
            CompatibilityMsi.FORMAT,
            IoapicEntry.COMPATIBLE,
            IoapicEntry.REMAPPED,
            LapicPage.FORMAT,
            UnitCapabilities.FORMAT,
            LegacyIrte.FORMAT,
            GaIrte.REMAPPED,
            GaIrte.GUEST,
            DeviceTableEntry.FORMAT,
            GaTag.FORMAT,
            GaTag.FORMAT_6_1,
            GaTag.FORMAT_6_0,
            GaLog.ENTRY,
            AvicTables.PHYSICAL,
            AvicTables.LOGICAL,
            GaLog.REGISTER,
            ListRegister.FORMAT,
            IchListRegister.FORMAT,
            HypervisorControl.GICH,
            HypervisorControl.ICH,
            MachineControl.GICH,
            MachineControl.ICH,
            Maintenance.STATUS,
            Maintenance.ICH_STATUS,
            Maintenance.ENDED,
            Maintenance.ICH_ENDED,
            Maintenance.EMPTY,
            Maintenance.ICH_EMPTY,
            VgicType.GICH,
            VgicType.ICH);

    private static final int FEW_WORDS = 4;

    static final List<Format> ENCODABLE =
            ALL.stream().filter(format -> !format.isDecodeOnly()).toList();

    private static final Map<String, Format> BY_KIND =
            ALL.stream().collect(Collectors.toUnmodifiableMap(Format::kind, Function.identity()));

    private Formats() {}

    /** @throws IllegalArgumentException if the kind is unknown; the message lists known kinds */
    static Format of(String kind) {
        Format format = BY_KIND.get(kind);
        if (format == null) {
            if (DebugfsFile.KINDS.contains(kind)) {
                throw new IllegalArgumentException("kind '" + kind + "' has no words and fields: expected"
                        + " kvmirq decode [--json] " + kind + " FILE");
            }
            List<String> near = near(kind);
            throw new IllegalArgumentException("kind " + Foreign.quoted(kind) + " is unknown: "
                    + (near.isEmpty() ? "expected one of " + joined(kinds()) : "did you mean " + joined(near) + "?"));
        }
        return format;
    }

    private static String joined(List<String> kinds) {
        return String.join(", ", kinds);
    }

    private static List<String> kinds() {
        return Stream.concat(ALL.stream().map(Format::kind), DebugfsFile.KINDS.stream())
                .toList();
    }

    private static List<String> near(String kind) {
        String lower = kind.toLowerCase(Locale.ROOT);
        return lower.isEmpty()
                ? List.of()
                : kinds().stream()
                        .filter(known -> known.contains(lower) || lower.contains(known))
                        .toList();
    }

    /** Parses hex words in the order of the structure; IllegalArgumentException if their number or width is wrong. */
    static long[] words(Format format, List<String> texts) {
        if (texts.size() != format.wordCount()) {
            throw new IllegalArgumentException(format.kind() + " is " + format.wordsText() + ": got " + texts.size());
        }
        long[] words = new long[texts.size()];
        for (int i = 0; i < words.length; i++) {
            words[i] = Hex.parse(texts.get(i), "word " + (i + 1) + " of " + format.kind(), format.wordBits());
        }
        return words;
    }

    /** The first parameter: a kind, or a file with {@code --batch}; {@code files} are the kinds of debugfs files. */
    static PositionalParamSpec.Builder parameter(List<Format> formats, List<String> files) {
        return Command.parameter("0", "0..1", "KIND")
                .hideParamSyntax(true)
                .completionCandidates(Stream.concat(formats.stream().map(Format::kind), files.stream())
                        .toList())
                .description("A kind; see below. With --batch, a FILE instead; standard input if it is missing or -.");
    }

    /** One line for each format: kind, title and words. */
    static List<String> lines(List<Format> formats) {
        return formats.stream()
                .map(format -> String.format(
                        "  %-19s %s: %s",
                        format.kind(),
                        format.title(),
                        format.wordNames().isEmpty() || format.wordCount() > FEW_WORDS
                                ? format.wordsText()
                                : String.join(", ", format.wordNames())))
                .toList();
    }
}
