/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

/** Steps of tearing down: a refusal does not end it. An Error does, and it is then done again from its beginning. */
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
