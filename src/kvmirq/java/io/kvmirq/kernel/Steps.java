/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import org.jspecify.annotations.Nullable;

/** Steps that are all taken, whatever one of them throws. */
public final class Steps {
    private Steps() {}

    /**
     * Takes each step in order. What the last one of them threw is thrown then, with the others suppressed; if one threw
     * an Error, the first Error is thrown as it is.
     */
    public static void all(Iterable<? extends Runnable> steps) {
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
                error = error == null ? e : error; // adding to it may need the memory that is not there
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
