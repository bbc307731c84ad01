/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.text.Foreign;

/** Thrown if a snapshot is unreadable, does not fit a VM, or differs from the restored VM. The message may quote it. */
public final class SnapshotException extends RuntimeException {
    private static final long serialVersionUID = 1;
    /** The longest message, with room for the ids of two devices with their BARs and capabilities. */
    private static final int LONGEST_MESSAGE = 2500;

    SnapshotException(String message) {
        super(Foreign.printable(message, LONGEST_MESSAGE));
    }

    SnapshotException(String message, Throwable cause) {
        super(Foreign.printable(message, LONGEST_MESSAGE), cause);
    }
}
