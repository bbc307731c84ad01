/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import io.kvmirq.backend.BackendUnavailableException;

/** Explains whether a class could not be loaded because it is absent, or because its initialization failed. */
final class Missing {
    private Missing() {}

    static BackendUnavailableException explain(String artifact, NoClassDefFoundError e) {
        String message = String.valueOf(e.getMessage());
        boolean present = message.startsWith("Could not initialize");
        return new BackendUnavailableException(
                present
                        ? artifact + " failed when it was first tried in this JVM (" + message + ")"
                        : artifact + " is not on the class path (" + message + ")",
                e);
    }
}
