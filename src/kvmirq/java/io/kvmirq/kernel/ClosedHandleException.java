/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

/** A handle was used after it was closed. */
public final class ClosedHandleException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    ClosedHandleException(String handle) {
        super(handle + " is closed: it was used after close(); open another");
    }
}
