/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.backend.choice.Backends;
import io.kvmirq.backend.library.LibraryCache;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.path.Remedy;
import java.util.List;

/** The check of {@link Check#BACKENDS}: tries each binding, which loads native code. */
final class BindingsCheck {
    private BindingsCheck() {}

    /** @param here whether the checked host is this machine */
    static Finding finding(boolean here) {
        if (!here) {
            return Finding.unknown(
                    Check.BACKENDS,
                    "elsewhere",
                    "bindings can only be tried on the machine itself",
                    "run kvmirq doctor --check backends on that machine");
        }
        List<Backends.Probe> all = Backends.ofThisMachine().probeAll();
        List<String> usable = all.stream()
                .filter(probe -> probe.backend().isPresent())
                .map(Backends.Probe::name)
                .toList();
        List<String> unusable = all.stream()
                .filter(probe -> probe.backend().isEmpty())
                .map(probe -> probe.name() + ": " + probe.reason())
                .toList();
        String place = LibraryCache.directory().toString();
        Finding finding = (usable.isEmpty()
                        ? Finding.fail(
                                Check.BACKENDS, "none", "no binding to the kernel works; native files go to " + place)
                        : Finding.pass(
                                Check.BACKENDS,
                                "usable",
                                "usable: " + String.join(", ", usable) + "; native files go to " + place))
                .with("usable", usable)
                .with("unusable", unusable)
                .with("nativeFiles", place);
        if (!usable.isEmpty()) {
            return finding;
        }
        for (String binding : unusable) {
            finding = finding.with(Remedy.look(binding));
        }
        return finding.with(
                Remedy.command("set JAVA_TOOL_OPTIONS=-Dkvmirq.cache=DIR, where DIR is not mounted noexec"));
    }
}
