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
    private static final int NONE = -1;
    private static final long MOST_PAGES = Integer.MAX_VALUE;
    private static final long PAGE = 4096;

    /** {@code size} bytes at guest address {@code guest} are the caller's at {@code user}. */
    record Slot(long guest, long size, long user, int flags) {
        boolean overlaps(Slot other) {
            return guest < other.guest + other.size && other.guest < guest + size;
        }

        /** Beyond what a live slot may change: where the guest sees it, and whether it is logged. */
        boolean isOtherThan(Slot other) {
            return size != other.size || user != other.user || ((flags ^ other.flags) & Uapi.KVM_MEM_READONLY) != 0;
        }

        boolean isOfFile() {
            return (flags & Uapi.KVM_MEM_GUEST_MEMFD) != 0;
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

    /** KVM_SET_USER_MEMORY_REGION. */
    int set(ByteBuffer region) {
        return set(region, Uapi.KVM_MEM_LOG_DIRTY_PAGES | Uapi.KVM_MEM_READONLY, NONE);
    }

    /** KVM_SET_USER_MEMORY_REGION2: a slot of a file's memory is neither logged nor read-only. */
    int set2(ByteBuffer region) {
        boolean ofFile = (region.getInt(Uapi.KvmUserspaceMemoryRegion.FLAGS) & Uapi.KVM_MEM_GUEST_MEMFD) != 0;
        if (!ofFile || !kernel.profile().hasGuestMemfd()) {
            return set(region);
        }
        if (region.getLong(Uapi.KvmUserspaceMemoryRegion2.GUEST_MEMFD_OFFSET) != 0) {
            throw new NotModelledException("memory from the middle of a guest_memfd");
        }
        return set(region, Uapi.KVM_MEM_GUEST_MEMFD, region.getInt(Uapi.KvmUserspaceMemoryRegion2.GUEST_MEMFD));
    }

    private int set(ByteBuffer region, int known, int memfd) {
        int id = region.getInt(Uapi.KvmUserspaceMemoryRegion.SLOT);
        Slot next = new Slot(
                region.getLong(Uapi.KvmUserspaceMemoryRegion.GUEST_PHYS_ADDR),
                region.getLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE),
                region.getLong(Uapi.KvmUserspaceMemoryRegion.USERSPACE_ADDR),
                region.getInt(Uapi.KvmUserspaceMemoryRegion.FLAGS));
        if ((next.flags & ~known) != 0) {
            return kernel.refuse(Rule.MEMORY_FLAGS);
        }
        if ((next.size | next.guest | next.user) % PAGE != 0 || next.user < 0) {
            return kernel.refuse(Rule.MEMORY_ALIGNMENT);
        }
        boolean wraps = Long.compareUnsigned(next.guest + next.size, next.guest) < 0;
        if (space(id) >= kernel.profile().addressSpaces()
                || (id & 0xffff) >= limits.slots
                || wraps
                || next.size >>> 12 > MOST_PAGES) {
            return kernel.refuse(Rule.MEMORY_SLOT);
        }
        if (space(id) > 0) {
            kernel.note(Rule.MEMORY_SPACES);
        }
        return replace(id, next, slots.get(id), memfd);
    }

    private int replace(int id, Slot next, @Nullable Slot now, int memfd) {
        if (next.size == 0) {
            return slots.remove(id) == null ? kernel.refuse(Rule.MEMORY_ABSENT) : 0;
        }
        boolean changed = now != null && (now.isOtherThan(next) || next.isOfFile());
        if (changed) {
            return kernel.refuse(Rule.MEMORY_CHANGED);
        }
        boolean overlaps = slots.entrySet().stream()
                .anyMatch(other -> other.getKey() != id
                        && space(other.getKey()) == space(id)
                        && other.getValue().overlaps(next));
        if (overlaps) {
            return kernel.refuse(Rule.MEMORY_OVERLAP);
        }
        if (next.isOfFile()) {
            // No file can be one: nobody can make such a file here.
            return kernel.refuse(kernel.file(memfd) == null ? Rule.MEMORY_MEMFD : Rule.MEMORY_NOT_A_MEMFD);
        }
        if (next.guest + next.size - 1 >>> limits.addressBits != 0) {
            return kernel.refuse(limits.beyond);
        }
        slots.put(id, next);
        return 0;
    }

    private static int space(int id) {
        return id >>> 16;
    }

    /** Where a guest address lies in the caller's memory. */
    Optional<Long> user(long guest) {
        return slots.entrySet().stream()
                .filter(slot -> space(slot.getKey()) == 0)
                .map(Map.Entry::getValue)
                .filter(slot -> guest >= slot.guest && guest < slot.guest + slot.size)
                .map(slot -> slot.user + guest - slot.guest)
                .findFirst();
    }
}
