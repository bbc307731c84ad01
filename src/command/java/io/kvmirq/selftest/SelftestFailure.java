/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.KernelException;
import io.kvmirq.explain.ProcessLimit;
import java.util.Optional;

/** Distinguishes a fault of this machine's interrupt path from a self-test that could not run. */
final class SelftestFailure {
    private SelftestFailure() {}

    /**
     * The failure that an exception of a scenario means.
     *
     * @throws CouldNotRunException for a limit of this process
     */
    static String failure(Throwable thrown) {
        if (thrown instanceof CouldNotRunException e) {
            throw e;
        }
        Optional<String> limit = ProcessLimit.behind(thrown);
        if (limit.isPresent()) {
            throw new CouldNotRunException(limit.get(), thrown);
        }
        if (thrown instanceof SelftestFailedException
                || thrown instanceof KernelException
                || thrown instanceof IllegalStateException
                || thrown instanceof UnsupportedOperationException) {
            return String.valueOf(thrown.getMessage());
        }
        if (thrown instanceof Error e) {
            throw e;
        }
        throw (RuntimeException) thrown;
    }

    /** The exception that ended a helper thread, for the thread of the scenario: the kernel's refusal is a failure. */
    static RuntimeException ofThread(String thread, Throwable thrown) {
        Optional<String> limit = ProcessLimit.behind(thrown);
        if (limit.isEmpty() && thrown instanceof KernelException) {
            return new SelftestFailedException(thread + ": " + thrown.getMessage());
        }
        return thrown instanceof SelftestFailedException fault
                ? fault
                : new CouldNotRunException(thread + ": " + limit.orElseGet(thrown::toString), thrown);
    }
}
