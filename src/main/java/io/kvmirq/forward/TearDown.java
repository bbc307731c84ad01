/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

/** Steps of tearing down, which never fail: whatever the kernel refuses, the next step is taken. */
final class TearDown {
    private TearDown() {}

    static void quietly(Runnable step) {
        try {
            step.run();
        } catch (RuntimeException | OutOfMemoryError e) {
            // Its object is gone already, or goes with its file.
        }
    }
}
