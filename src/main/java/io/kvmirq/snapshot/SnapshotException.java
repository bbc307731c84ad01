/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

/** A snapshot cannot be read, does not fit a VM, or the restored VM differs from it. */
public final class SnapshotException extends RuntimeException {
    private static final long serialVersionUID = 1;

    SnapshotException(String message) {
        super(message);
    }

    SnapshotException(String message, Throwable cause) {
        super(message, cause);
    }
}
