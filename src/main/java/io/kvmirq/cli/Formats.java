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
                    Stream.of(
                            RemappedIrte.FORMAT,
                            PostedIrte.FORMAT,
                            PostedInterruptDescriptor.FORMAT,
                            PidPointer.FORMAT,
                            RemappableMsi.FORMAT,
                            CompatibilityMsi.FORMAT,
                            UnitCapabilities.FORMAT),
                    RemappingFormats.ALL.stream(),
                    AvicFormats.ALL.stream())
            .flatMap(Function.identity())
            .toList();

    private static final Map<String, Format> BY_KIND =
            ALL.stream().collect(Collectors.toUnmodifiableMap(Format::kind, Function.identity()));

    private Formats() {}

    /** @throws IllegalArgumentException for an unknown kind, with those that there are */
    static Format of(String kind) {
        Format format = BY_KIND.get(kind);
        if (format == null) {
            throw new IllegalArgumentException("kind '" + kind + "' is unknown: expected one of "
                    + ALL.stream().map(Format::kind).collect(Collectors.joining(", ")));
        }
        return format;
    }
}
