/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.library;

/** The permission to call native code, which Java asks for from version 22 on. */
public final class NativeAccess {
    private NativeAccess() {}

    /** A sentence: native access is denied, and the option that grants it to kvmirq as this JVM has it. */
    public static String denied() {
        Module module = NativeAccess.class.getModule();
        return "native access is denied: start Java with --enable-native-access="
                + (module.isNamed() ? module.getName() : "ALL-UNNAMED");
    }
}
