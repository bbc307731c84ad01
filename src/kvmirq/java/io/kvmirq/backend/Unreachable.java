/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.lang.ref.Cleaner;

/** Starts the thread that reports unreachable buffers at its first use. */
final class Unreachable {
    static final Cleaner CLEANER = Cleaner.create();

    private Unreachable() {}
}
