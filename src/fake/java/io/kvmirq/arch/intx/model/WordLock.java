/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.arch.SharedWords;

/** A spinlock in a shared word. The end of a try statement releases it. */
record WordLock(SharedWords words, int word) implements AutoCloseable {
    void take() {
        words.lock(word);
    }

    @Override
    public void close() {
        words.unlock(word);
    }
}
