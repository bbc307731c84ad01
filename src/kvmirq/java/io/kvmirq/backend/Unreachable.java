/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.lang.ref.Cleaner;

/** Holds the thread that tells of buffers that became unreachable; it begins with the first one that asks. */
final class Unreachable {
    static final Cleaner CLEANER = Cleaner.create();

    private Unreachable() {}
}
