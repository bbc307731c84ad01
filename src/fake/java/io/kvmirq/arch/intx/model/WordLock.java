/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.arch.SharedWords;

/** A spinlock in a shared word, which the end of a try statement releases. */
record WordLock(SharedWords words, int word) implements AutoCloseable {
    void take() {
        words.lock(word);
    }

    @Override
    public void close() {
        words.unlock(word);
    }
}
