/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Set;

/** Allocates memory slots from the highest number down, because an adopted VM's VMM allocates from 0. Thread-safe. */
final class MemorySlots {
    private final VmCalls calls;
    private final int count;
    private final BitSet taken = new BitSet();
    private final List<Memory> memories = new ArrayList<>();

    private record Memory(int slot, long guestAddress, long length) {}

    MemorySlots(VmCalls calls) {
        this.calls = calls;
        this.count = calls.memorySlots();
    }

    /** Allocates a slot, which {@code undo} frees. Throws MemorySlotsExhaustedException if none is free. */
    synchronized int take(Undo undo) {
        int slot = count == 0 ? -1 : taken.previousClearBit(count - 1);
        if (slot < 0) {
            throw new MemorySlotsExhaustedException("no memory slot of " + calls.vm() + " is free: all " + count
                    + " that this kernel allows for a VM are used; close guest memory first");
        }
        undo.step(() -> taken.set(slot), () -> giveBack(slot));
        return slot;
    }

    /** Frees a slot that the kernel no longer uses. */
    synchronized void giveBack(int slot) {
        taken.clear(slot);
    }

    synchronized void add(int slot, long guestAddress, long length) {
        memories.add(new Memory(slot, guestAddress, length));
    }

    /** Does not allocate. */
    synchronized void remove(int slot) {
        for (int i = memories.size() - 1; i >= 0; i--) {
            if (memories.get(i).slot == slot) {
                memories.remove(i);
            }
        }
    }

    synchronized boolean overlap(long guestAddress, long length) {
        return memories.stream()
                .anyMatch(memory -> memory.guestAddress < guestAddress + length
                        && guestAddress < memory.guestAddress + memory.length);
    }

    /** @throws IllegalArgumentException if memory overlaps a page of the irqchip to be created */
    synchronized void requireNoneOver(Set<ChipPage> pages) {
        for (Memory memory : memories) {
            pages.forEach(page -> page.requireFree(calls.vm(), memory.guestAddress, memory.length));
        }
    }
}
