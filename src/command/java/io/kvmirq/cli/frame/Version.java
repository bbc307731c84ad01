/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.frame;

import io.kvmirq.backend.Abi;
import java.lang.module.ModuleDescriptor;
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

    /**
     * From the module, such as in a package, or from the jar's manifest: the JVM has read either already. Absent when
     * the classes are not in a jar.
     */
    public static String number() {
        @Nullable ModuleDescriptor module = Version.class.getModule().getDescriptor();
        if (module != null && module.rawVersion().isPresent()) {
            return module.rawVersion().get();
        }
        @Nullable String version = Version.class.getPackage().getImplementationVersion();
        return version == null ? "(not from a jar)" : version;
    }
}
