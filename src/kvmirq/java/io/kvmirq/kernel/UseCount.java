/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import java.util.concurrent.atomic.AtomicIntegerFieldUpdater;

/**
 * Counts a resource's uses in flight, and tracks whether it accepts new ones. When no use is left after {@link #end},
 * exactly one {@link #end} or {@link #finish} returns true, and its caller must release the resource. Lock-free.
 * Handles extend it to save an object each, because a VM may have thousands of them.
 */
class UseCount {
    private static final int CLOSED = 1 << 31;
    private static final AtomicIntegerFieldUpdater<UseCount> STATE =
            AtomicIntegerFieldUpdater.newUpdater(UseCount.class, "state");

    /** Bit 31: closed. Bits 30–0: uses in flight. Every change is one read-modify-write and needs no barrier. */
    private volatile int state;

    /** @return whether the use may begin; if so, {@link #finish} must follow */
    final boolean begin() {
        while (true) {
            int now = state;
            if (now < 0) {
                return false;
            }
            if (STATE.compareAndSet(this, now, now + 1)) {
                return true;
            }
        }
    }

    /** @return whether the caller must now release the resource */
    final boolean finish() {
        return STATE.decrementAndGet(this) == CLOSED;
    }

    /** @return whether the caller must now release the resource */
    final boolean end() {
        return STATE.getAndUpdate(this, now -> now | CLOSED) == 0;
    }

    /** Whether the resource is closed and one use is left. Once true, this stays true until that use ends. */
    final boolean isLast() {
        return state == (CLOSED | 1);
    }

    boolean isClosed() {
        return state < 0;
    }
}
