/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

/** Steps of tearing down, which never fail: what the kernel refuses is logged, and the next step is taken. */
final class TearDown {
    private static final System.Logger LOGGER = System.getLogger("io.kvmirq");

    private TearDown() {}

    static void quietly(Runnable step) {
        try {
            step.run();
        } catch (RuntimeException | OutOfMemoryError e) {
            log(e);
        }
    }

    private static void log(Throwable refusal) {
        try {
            LOGGER.log(System.Logger.Level.DEBUG, "a step of tearing down was refused: {0}", refusal.getMessage());
        } catch (RuntimeException e) {
            // A log handler that throws does not stop the tear-down.
        }
    }
}
