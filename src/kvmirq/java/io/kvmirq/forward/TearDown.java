/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

/** Runs tear-down steps. An exception does not stop it, but an Error does; it is then repeated from its first step. */
final class TearDown {
    private TearDown() {}

    static void quietly(Runnable step) {
        try {
            step.run();
        } catch (RuntimeException e) {
            // The object of this step is gone already, or ends when its file closes.
        }
    }
}
