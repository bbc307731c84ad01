/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

/**
 * Runs steps of a tear-down. A refusal does not stop it. An Error does; the tear-down is then repeated from its first
 * step.
 */
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
