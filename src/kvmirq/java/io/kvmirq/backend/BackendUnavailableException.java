/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.util.Objects;

/** Thrown if no binding can make system calls in this process. The message names the reason for each binding tried. */
public final class BackendUnavailableException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** @param reason one sentence that says what cannot be used, why, and what to do */
    public BackendUnavailableException(String reason) {
        super(reason);
        Objects.requireNonNull(reason, "reason is null");
    }

    /** Like {@link #BackendUnavailableException(String)}, with a cause. */
    public BackendUnavailableException(String reason, Throwable cause) {
        super(reason, cause);
        Objects.requireNonNull(reason, "reason is null");
        Objects.requireNonNull(cause, "cause is null");
    }
}
