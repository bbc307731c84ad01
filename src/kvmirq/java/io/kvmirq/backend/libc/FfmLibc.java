/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.Libc;

/** libc by java.lang.foreign. This class of Java 17–21 throws; {@code META-INF/versions/22} has one that works. */
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
                                + " and carries no FFM binding; build it" + " with a newer one");
    }

    public static String description() {
        return "java.lang.foreign";
    }
}
