/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.library;

/** The permission to call native code, which Java 22 and newer require. */
public final class NativeAccess {
    private NativeAccess() {}

    /** A message: native access is denied, and the Java option that grants it to kvmirq in this JVM. */
    public static String denied() {
        Module module = NativeAccess.class.getModule();
        return "native access is denied: start Java with --enable-native-access="
                + (module.isNamed() ? module.getName() : "ALL-UNNAMED");
    }
}
