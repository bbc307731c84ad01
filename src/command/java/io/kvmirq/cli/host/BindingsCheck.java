/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.backend.choice.Backends;
import io.kvmirq.backend.library.LibraryCache;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.screens.Doctor;
import java.util.ArrayList;
import java.util.List;

/** The check of {@link io.kvmirq.diag.Check#BACKENDS}: tries each binding, which loads native code. */
final class BindingsCheck {
    private BindingsCheck() {}

    /** @param here whether the checked host is this machine */
    static Finding finding(boolean here) {
        if (!here) {
            return Doctor.bindingsElsewhere();
        }
        List<String> usable = new ArrayList<>();
        List<String> unusable = new ArrayList<>();
        for (Backends.Probe probe : Backends.ofThisMachine().probeAll()) {
            if (probe.backend().isPresent()) {
                usable.add(probe.name());
            } else {
                unusable.add(probe.name() + ": " + probe.reason());
            }
        }
        return Doctor.bindings(usable, unusable, LibraryCache.directory().toString());
    }
}
