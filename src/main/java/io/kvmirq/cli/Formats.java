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

    /** So many characters may be wrong in a name that is still understood. */
    private static final int NEAR = 3;

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

    private static List<String> kinds() {
        return ALL.stream().map(Format::kind).toList();
    }

    private static List<String> near(String kind) {
        if (kind.isEmpty() || kind.length() > 2 * NEAR * NEAR + NEAR) {
            return List.of();
        }
        List<String> containing =
                kinds().stream().filter(one -> one.contains(kind)).toList();
        return containing.isEmpty()
                ? kinds().stream().filter(one -> distance(one, kind) <= NEAR).toList()
                : containing;
    }

    /** How many characters have to be put in, taken out or changed. */
    private static int distance(String one, String other) {
        int[] row = new int[other.length() + 1];
        for (int j = 0; j < row.length; j++) {
            row[j] = j;
        }
        for (int i = 1; i <= one.length(); i++) {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j < row.length; j++) {
                int changed = diagonal + (one.charAt(i - 1) == other.charAt(j - 1) ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.min(changed, 1 + Math.min(row[j], row[j - 1]));
            }
        }
        return row[other.length()];
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

    /** One line for each kind: what it is called, and its words. */
    static List<String> lines() {
        return ALL.stream()
                .map(format -> String.format("  %-20s %-22s %s", format.kind(), format.wordsText(), format.title()))
                .toList();
    }
}
