/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import io.kvmirq.backend.Abi;
import org.jspecify.annotations.Nullable;

/** The line that {@code --version} prints. */
public final class Version {
    private Version() {}

    public static String line() {
        return name() + " (" + Abi.OURS + ", Java " + System.getProperty("java.version") + ", "
                + System.getProperty("os.name") + " " + System.getProperty("os.version") + " "
                + System.getProperty("os.arch") + ")";
    }

    public static String name() {
        return "kvmirq " + number();
    }

    /** From the jar's manifest, which the JVM has read already. Absent when the classes are not in a jar. */
    private static String number() {
        @Nullable String version = Version.class.getPackage().getImplementationVersion();
        return version == null ? "(not from a jar)" : version;
    }
}
