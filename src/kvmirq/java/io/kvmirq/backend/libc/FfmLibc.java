/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.Libc;

/**
 * Calls libc through java.lang.foreign. This version for Java 17–21 only throws. The one in {@code
 * META-INF/versions/22} works.
 */
public final class FfmLibc {
    private static final int FIRST_JAVA = 22;

    private FfmLibc() {}

    /** @throws BackendUnavailableException always, because Java is too old or the jar has no FFM binding */
    public static Libc open() {
        int running = Runtime.version().feature();
        throw new BackendUnavailableException(
                running < FIRST_JAVA
                        ? "needs Java " + FIRST_JAVA + " or newer, this is " + running
                        : "this kvmirq was built by a JDK before " + FIRST_JAVA
                                + " and has no FFM binding; build it with a newer one");
    }

    public static String description() {
        return "java.lang.foreign";
    }
}
