/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

/**
 * Steps of tearing down: whatever the kernel refuses, the next step is taken. An Error ends the tear-down, which is then
 * done again from its beginning.
 */
final class TearDown {
    private TearDown() {}

    static void quietly(Runnable step) {
        try {
            step.run();
        } catch (RuntimeException e) {
            // Its object is gone already, or goes with its file.
        }
    }
}
