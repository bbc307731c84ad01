/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

/** The party that closes a file descriptor passed to an {@code adopt} method: library or caller. */
public enum Ownership {
    /** The {@code close()} of the library's object closes the descriptor. */
    OWNED,
    /** The caller closes the descriptor, after the {@code close()} of the library's object. */
    BORROWED
}
