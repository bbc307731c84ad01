/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

/** Whether the library or the caller closes a descriptor passed to an {@code adopt} method. */
public enum Ownership {
    /** The {@code close()} of the library's object closes the descriptor. */
    OWNED,
    /** The caller closes the descriptor, after the {@code close()} of the library's object. */
    BORROWED
}
