/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.library;

/** Tells users of Java 22 and newer how to permit kvmirq to call native code. */
public final class NativeAccess {
    private NativeAccess() {}

    /** A message that native access is denied, with the Java option that grants native access to kvmirq. */
    public static String denied() {
        Module module = NativeAccess.class.getModule();
        return "native access is denied: start Java with --enable-native-access="
                + (module.isNamed() ? module.getName() : "ALL-UNNAMED");
    }
}
