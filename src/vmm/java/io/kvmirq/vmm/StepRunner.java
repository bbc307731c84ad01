/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vmm;

import org.jspecify.annotations.Nullable;

/** Runs a list of steps to its end, even if some steps throw. */
public final class StepRunner {
    private StepRunner() {}

    /**
     * Runs every step in order, even if some of them throw. After the last step, throws the last exception; other
     * exceptions are its suppressed exceptions. If steps threw Errors, throws the first Error unchanged instead.
     */
    public static void runAll(Iterable<? extends Runnable> steps) {
        @Nullable RuntimeException failure = null;
        @Nullable Error error = null;
        for (Runnable step : steps) {
            try {
                step.run();
            } catch (RuntimeException e) {
                if (failure != null && failure != e) {
                    e.addSuppressed(failure);
                }
                failure = e;
            } catch (Error e) {
                error = error == null ? e : error; // addSuppressed may need memory that is not available
            }
        }
        if (error != null) {
            throw error;
        }
        if (failure != null) {
            throw failure;
        }
    }
}
