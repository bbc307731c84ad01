/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

/** The party that closes an adopted file descriptor: the library or the caller. */
public enum Ownership {
    /** Our {@code close()} closes it. */
    OWNED,
    /** It stays open and its owner closes it, after we have closed our handle. */
    BORROWED
}
