/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.arch.Format;
import io.kvmirq.arch.amd.AvicFormats;
import io.kvmirq.arch.amd.RemappingFormats;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.PidPointer;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.arch.vtd.RemappableMsi;
import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.arch.vtd.UnitCapabilities;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The formats that the command knows by kind. */
final class Formats {
    static final List<Format> ALL = Stream.of(
                    List.of(
                            RemappedIrte.FORMAT,
                            PostedIrte.FORMAT,
                            PostedInterruptDescriptor.FORMAT,
                            PidPointer.FORMAT,
                            RemappableMsi.FORMAT,
                            CompatibilityMsi.FORMAT,
                            UnitCapabilities.FORMAT),
                    RemappingFormats.ALL,
                    AvicFormats.ALL)
            .flatMap(List::stream)
            .toList();

    private static final Map<String, Format> BY_KIND =
            ALL.stream().collect(Collectors.toUnmodifiableMap(Format::kind, Function.identity()));

    private Formats() {}

    /** @throws IllegalArgumentException for an unknown kind, with those that there are */
    static Format of(String kind) {
        Format format = BY_KIND.get(kind);
        if (format == null) {
            List<String> near = near(kind);
            throw new IllegalArgumentException("kind " + Hex.quoted(kind) + " is unknown: "
                    + (near.isEmpty() ? "expected one of " + joined(kinds()) : "did you mean " + joined(near) + "?"));
        }
        return format;
    }

    private static String joined(List<String> kinds) {
        return String.join(", ", kinds);
    }

    static List<String> kinds() {
        return ALL.stream().map(Format::kind).toList();
    }

    private static List<String> near(String kind) {
        String lower = kind.toLowerCase(Locale.ROOT);
        return lower.isEmpty()
                ? List.of()
                : kinds().stream()
                        .filter(one -> one.contains(lower) || lower.contains(one))
                        .toList();
    }

    /**
     * The words a user gave, in the order of the structure.
     *
     * @throws IllegalArgumentException if there are more or fewer than the format has, or one is no hex of its width
     */
    static long[] words(Format format, List<String> texts) {
        if (texts.size() != format.wordCount()) {
            throw new IllegalArgumentException(
                    format.kind() + " is " + format.wordsText() + ", " + texts.size() + " given");
        }
        long[] words = new long[texts.size()];
        for (int i = 0; i < words.length; i++) {
            words[i] = Hex.parse(texts.get(i), "word " + (i + 1) + " of " + format.kind(), format.wordBits());
        }
        return words;
    }

    /** One line for each of {@code formats}: what it is called, and its words. */
    static List<String> lines(List<Format> formats) {
        return formats.stream()
                .map(format -> String.format(
                        "  %-19s %s: %s",
                        format.kind(),
                        format.title(),
                        format.wordNames().isEmpty() ? format.wordsText() : String.join(", ", format.wordNames())))
                .toList();
    }
}
