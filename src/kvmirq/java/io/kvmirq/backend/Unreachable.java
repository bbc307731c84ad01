/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.lang.ref.Cleaner;

/** Holds the thread that reports unreachable buffers; started by the first request. */
final class Unreachable {
    static final Cleaner CLEANER = Cleaner.create();

    private Unreachable() {}
}
