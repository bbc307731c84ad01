/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.kernel.Undo;
import java.util.BitSet;

/**
 * The numbers of a VM's memory slots. They are given out highest first, because the VMM of an adopted VM counts its own
 * from 0. Thread-safe.
 */
final class MemorySlots {
    private final VmCalls calls;
    private final int count;
    private final BitSet taken = new BitSet();

    MemorySlots(VmCalls calls) {
        this.calls = calls;
        this.count = calls.memorySlots();
    }

    /**
     * @param undo gives it back
     * @throws MemorySlotsExhaustedException when none is free
     */
    synchronized int take(Undo undo) {
        int slot = count == 0 ? -1 : taken.previousClearBit(count - 1);
        if (slot < 0) {
            throw new MemorySlotsExhaustedException("no memory slot of " + calls.vm() + " is free: all " + count
                    + " that this kernel gives a VM are used; close guest memory first");
        }
        undo.step(() -> taken.set(slot), () -> giveBack(slot));
        return slot;
    }

    /** The kernel no longer has the slot. */
    synchronized void giveBack(int slot) {
        taken.clear(slot);
    }
}
