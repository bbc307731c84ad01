/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.library;

/** Explains how to grant kvmirq native access in Java 22 and newer. */
public final class NativeAccess {
    private NativeAccess() {}

    /** The message that native access is denied, with the Java option that grants it to kvmirq. */
    public static String denied() {
        Module module = NativeAccess.class.getModule();
        return "native access is denied: start Java with --enable-native-access="
                + (module.isNamed() ? module.getName() : "ALL-UNNAMED");
    }
}
