/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import java.util.Objects;

/** A handle, such as a VM or an eventfd, was used after it was closed. */
public final class ClosedHandleException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    /** @param handle the name of the closed handle */
    public ClosedHandleException(String handle) {
        super(Objects.requireNonNull(handle, "handle is null")
                + " is closed: it was used after close(); create or open another");
    }
}
