/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

/** Runs tear-down steps. An exception does not stop the tear-down. After an Error, it repeats from its first step. */
final class TearDown {
    private TearDown() {}

    static void quietly(Runnable step) {
        try {
            step.run();
        } catch (RuntimeException e) {
            // The step's object is already gone, or ends when its file is closed.
        }
    }
}
