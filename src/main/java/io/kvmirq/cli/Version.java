/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.backend.Abi;
import org.jspecify.annotations.Nullable;

/** What this is and what it runs on. */
final class Version {
    private Version() {}

    static String line() {
        return "kvmirq " + number() + " (" + Abi.OURS + ", Java " + System.getProperty("java.version") + ", "
                + System.getProperty("os.name") + " " + System.getProperty("os.version") + " "
                + System.getProperty("os.arch") + ")";
    }

    /** From the jar's manifest, which the JVM has read already; absent when run from bare classes. */
    private static String number() {
        @Nullable String version = Version.class.getPackage().getImplementationVersion();
        return version == null ? "(not from a jar)" : version;
    }
}
