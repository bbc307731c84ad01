/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import java.util.concurrent.atomic.AtomicIntegerFieldUpdater;

/**
 * How many uses of a resource are in flight, and whether it still takes new ones. Exactly one caller, of {@link #close}
 * or {@link #exit}, is told to release it, and only when no use is left. Lock-free.
 */
final class UseCount {
    private static final int CLOSED = 1 << 31;
    /** Not an object of its own: a VM may have thousands of counts. */
    private static final AtomicIntegerFieldUpdater<UseCount> STATE =
            AtomicIntegerFieldUpdater.newUpdater(UseCount.class, "state");

    /** Bit 31: closed. Bits 30–0: uses in flight. Every change is one read-modify-write, so none needs a barrier. */
    private volatile int state;

    /** @return whether the use may begin; if so {@link #exit} must follow */
    boolean enter() {
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
    boolean exit() {
        return STATE.decrementAndGet(this) == CLOSED;
    }

    /** @return whether the caller must now release the resource */
    boolean close() {
        return STATE.getAndUpdate(this, now -> now | CLOSED) == 0;
    }

    /** Whether it is closed and one use is left. Once true it stays true until that use ends. */
    boolean isLast() {
        return state == (CLOSED | 1);
    }

    boolean isClosed() {
        return state < 0;
    }
}
