/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.lang.ref.Cleaner;

/**
 * Holds the thread that reports unreachable buffers. A class of its own, so that the thread starts with the first use.
 */
final class Unreachable {
    static final Cleaner CLEANER = Cleaner.create();

    private Unreachable() {}
}
