/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** A guest's memory by slot; source: {@code __kvm_set_memory_region()} in virt/kvm/kvm_main.c. */
final class MemorySlots {
    private static final int FLAGS = 3;
    private static final int READ_ONLY = 2;
    private static final long MOST_PAGES = Integer.MAX_VALUE;
    private static final long PAGE = 4096;

    /** {@code size} bytes at guest address {@code guest} are the caller's at {@code user}. */
    record Slot(long guest, long size, long user, int flags) {
        boolean overlaps(Slot other) {
            return guest < other.guest + other.size && other.guest < guest + size;
        }
    }

    /**
     * What an architecture has of it.
     *
     * @param slots ids from 0
     * @param addressBits of a guest's physical addresses
     * @param beyond refuses what lies beyond those
     */
    record Limits(int slots, int addressBits, Rule beyond) {
        /** The most that any processor has; many refuse less. */
        static final Limits X86 = new Limits(32764, 52, Rule.MEMORY_BEYOND);
    }

    private final FakeKernel kernel;
    private final Limits limits;
    private final Map<Integer, Slot> slots = new TreeMap<>();

    MemorySlots(FakeKernel kernel, Limits limits) {
        this.kernel = kernel;
        this.limits = limits;
    }

    int set(ByteBuffer region) {
        int id = region.getInt(Uapi.KvmUserspaceMemoryRegion.SLOT);
        Slot next = new Slot(
                region.getLong(Uapi.KvmUserspaceMemoryRegion.GUEST_PHYS_ADDR),
                region.getLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE),
                region.getLong(Uapi.KvmUserspaceMemoryRegion.USERSPACE_ADDR),
                region.getInt(Uapi.KvmUserspaceMemoryRegion.FLAGS));
        if ((next.flags & ~FLAGS) != 0) {
            return kernel.refuse(Rule.MEMORY_FLAGS);
        }
        if ((next.size | next.guest | next.user) % PAGE != 0 || next.user < 0) {
            return kernel.refuse(Rule.MEMORY_ALIGNMENT);
        }
        boolean wraps = Long.compareUnsigned(next.guest + next.size, next.guest) < 0;
        if (id < 0 || id >= limits.slots || wraps || next.size >>> 12 > MOST_PAGES) {
            return kernel.refuse(Rule.MEMORY_SLOT);
        }
        return replace(id, next, slots.get(id));
    }

    private int replace(int id, Slot next, @Nullable Slot now) {
        if (next.size == 0) {
            return slots.remove(id) == null ? kernel.refuse(Rule.MEMORY_ABSENT) : 0;
        }
        boolean changed = now != null
                && (now.size != next.size || now.user != next.user || ((now.flags ^ next.flags) & READ_ONLY) != 0);
        if (changed) {
            return kernel.refuse(Rule.MEMORY_CHANGED);
        }
        boolean overlaps = slots.entrySet().stream()
                .anyMatch(other -> other.getKey() != id && other.getValue().overlaps(next));
        if (overlaps) {
            return kernel.refuse(Rule.MEMORY_OVERLAP);
        }
        if (next.guest + next.size - 1 >>> limits.addressBits != 0) {
            return kernel.refuse(limits.beyond);
        }
        slots.put(id, next);
        return 0;
    }

    /** Where a guest address lies in the caller's memory. */
    Optional<Long> user(long guest) {
        return slots.values().stream()
                .filter(slot -> guest >= slot.guest && guest < slot.guest + slot.size)
                .map(slot -> slot.user + guest - slot.guest)
                .findFirst();
    }
}
