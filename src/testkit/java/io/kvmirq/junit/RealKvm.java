/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.KernelException;
import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.kernel.Kernel;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The KVM of this machine, or the reason why it cannot be used. */
record RealKvm(String name, Optional<KernelBackend> backend, String reason) {
    private static final Pattern VERSION = Pattern.compile("\\d+\\.\\d+");

    static RealKvm probe(String binding) {
        Matcher version = VERSION.matcher(System.getProperty("os.version", ""));
        String name = "real KVM" + (version.lookingAt() ? " " + version.group() : "");
        try (Kernel kernel = Kernel.open(binding)) {
            kernel.device();
            return new RealKvm(
                    name + " through " + kernel.backendName(),
                    Optional.of(Backends.ofThisMachine().open(binding)),
                    "");
        } catch (KernelException | BackendUnavailableException | IllegalArgumentException e) {
            return new RealKvm(name, Optional.empty(), "real KVM cannot be used: " + e.getMessage());
        }
    }
}
