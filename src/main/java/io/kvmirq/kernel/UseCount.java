/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import java.util.concurrent.atomic.AtomicInteger;

/**
 * How many uses of a resource are in flight, and whether it still takes new ones. Exactly one caller, of {@link #close}
 * or {@link #exit}, is told to release it, and only when no use is left. Lock-free.
 */
final class UseCount {
    private static final int CLOSED = 1 << 31;

    /** Bit 31: closed. Bits 30–0: uses in flight. Every change is one read-modify-write, so none needs a barrier. */
    private final AtomicInteger state = new AtomicInteger();

    /** @return whether the use may begin; if so {@link #exit} must follow */
    boolean enter() {
        while (true) {
            int now = state.get();
            if (now < 0) {
                return false;
            }
            if (state.compareAndSet(now, now + 1)) {
                return true;
            }
        }
    }

    /** @return whether the caller must now release the resource */
    boolean exit() {
        return state.decrementAndGet() == CLOSED;
    }

    /** @return whether the caller must now release the resource */
    boolean close() {
        return state.getAndUpdate(now -> now | CLOSED) == 0;
    }

    /** Whether it is closed and one use is left. Once true it stays true until that use ends. */
    boolean isLast() {
        return state.get() == (CLOSED | 1);
    }

    boolean isClosed() {
        return state.get() < 0;
    }
}
