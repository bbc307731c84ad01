/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.BitSet;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Optional;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** The memory slots of a guest. Source: {@code __kvm_set_memory_region()} in virt/kvm/kvm_main.c. */
public final class FakeMemorySlots {
    private static final int NONE = -1;
    private static final long MOST_PAGES = Integer.MAX_VALUE;
    private static final long PAGE = 4096;
    /** TASK_SIZE_MAX with five-level page tables, and with four-level ones, which every process can use. */
    private static final long USER_END = (1L << 56) - PAGE;

    private static final long COMMON_USER_END = (1L << 47) - PAGE;

    /** A mapping of {@code size} bytes from guest-physical address {@code guest} to user address {@code user}. */
    record Slot(long guest, long size, long user, int flags) {
        long end() {
            return guest + size;
        }

        /** Whether a fixed field of a live slot differs; guest address and dirty logging may change. */
        boolean isOtherThan(Slot other) {
            return size != other.size || user != other.user || ((flags ^ other.flags) & Uapi.KVM_MEM_READONLY) != 0;
        }

        boolean isReadOnly() {
            return (flags & Uapi.KVM_MEM_READONLY) != 0;
        }

        boolean isLogged() {
            return (flags & Uapi.KVM_MEM_LOG_DIRTY_PAGES) != 0;
        }

        boolean isOfFile() {
            return (flags & Uapi.KVM_MEM_GUEST_MEMFD) != 0;
        }
    }

    /** An architecture's limits: memory slots in each address space, address spaces, and bits of a guest address. */
    public record Limits(int slots, int spaces, int addressBits, Answer beyond) {}

    private static final NavigableMap<Long, Integer> EMPTY = Collections.emptyNavigableMap();

    private final KernelOfFile host;
    private final Limits limits;
    private final Map<Integer, Slot> slots = new HashMap<>();
    /** The slot ids of each address space, sorted by guest address. Slots of one space do not overlap. */
    private final Map<Integer, NavigableMap<Long, Integer>> spaces = new HashMap<>();
    /** The dirty log of each logged slot, one bit for a page. */
    private final Map<Integer, BitSet> logs = new HashMap<>();

    public FakeMemorySlots(KernelOfFile host, Limits limits) {
        this.host = host;
        this.limits = limits;
    }

    /** KVM_SET_USER_MEMORY_REGION. */
    int set(ByteBuffer region) {
        return set(region, Uapi.KVM_MEM_LOG_DIRTY_PAGES | Uapi.KVM_MEM_READONLY, NONE);
    }

    /** Handles KVM_SET_USER_MEMORY_REGION2, which refuses to log a guest_memfd's slot or make it read-only. */
    public int set2(ByteBuffer region) {
        boolean ofFile = (region.getInt(Uapi.KvmUserspaceMemoryRegion.FLAGS) & Uapi.KVM_MEM_GUEST_MEMFD) != 0;
        if (!ofFile || !host.build().hasGuestMemfd()) {
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
            return host.refuse(VmAnswer.MEMORY_FLAGS);
        }
        if ((next.size | next.guest | next.user) % PAGE != 0) {
            return host.refuse(VmAnswer.MEMORY_ALIGNMENT);
        }
        if (!endsBelow(USER_END, next)) {
            return host.refuse(VmAnswer.MEMORY_OF_KERNEL);
        }
        if (!endsBelow(COMMON_USER_END, next)) {
            throw new NotModelledException("memory above the lower half of 48 bits");
        }
        boolean wraps = Long.compareUnsigned(next.end(), next.guest) < 0;
        if (isBeyond(id)) {
            return host.refuse(VmAnswer.MEMORY_SLOT);
        }
        if (wraps) {
            return host.refuse(VmAnswer.MEMORY_WRAPS);
        }
        if (next.size >>> 12 > MOST_PAGES) {
            return host.refuse(VmAnswer.MEMORY_SLOT);
        }
        if (space(id) > 0) {
            host.note(VmAnswer.MEMORY_SPACES);
        }
        return replace(id, next, slots.get(id), memfd);
    }

    private int replace(int id, Slot next, @Nullable Slot now, int memfd) {
        if (next.size == 0) {
            logs.remove(id);
            remove(id, now);
            return now == null ? host.refuse(VmAnswer.MEMORY_ABSENT) : 0;
        }
        boolean changed = now != null && (now.isOtherThan(next) || next.isOfFile());
        if (changed) {
            return host.refuse(VmAnswer.MEMORY_CHANGED);
        }
        if (overlaps(id, next)) {
            return host.refuse(VmAnswer.MEMORY_OVERLAP);
        }
        if (next.isOfFile()) {
            // The fake creates no guest_memfd, so the file cannot be one.
            return host.refuse(host.file(memfd) == null ? VmAnswer.MEMORY_MEMFD : VmAnswer.MEMORY_NOT_A_MEMFD);
        }
        if (next.end() - 1 >>> limits.addressBits != 0) {
            return host.refuse(limits.beyond);
        }
        remove(id, now);
        slots.put(id, next);
        spaces.computeIfAbsent(space(id), absent -> new TreeMap<>()).put(next.guest, id);
        if (!next.isLogged()) {
            logs.remove(id);
        } else if (!logs.containsKey(id)) {
            logs.put(id, new BitSet());
        }
        return 0;
    }

    private NavigableMap<Long, Integer> ids(int id) {
        return spaces.getOrDefault(space(id), EMPTY);
    }

    private void remove(int id, @Nullable Slot now) {
        if (now != null) {
            slots.remove(id);
            ids(id).remove(now.guest);
        }
    }

    /** Whether another slot overlaps. Only the last slot that begins before the new slot's end can overlap. */
    private boolean overlaps(int id, Slot next) {
        NavigableMap<Long, Integer> ids = ids(id);
        Map.@Nullable Entry<Long, Integer> last = ids.lowerEntry(next.end());
        if (last != null && last.getValue() == id) {
            last = ids.lowerEntry(last.getKey());
        }
        @Nullable Slot before = last == null ? null : slots.get(last.getValue());
        return before != null && before.end() > next.guest;
    }

    private boolean isBeyond(int id) {
        return space(id) >= limits.spaces || (id & 0xffff) >= limits.slots;
    }

    /** KVM_GET_DIRTY_LOG. Clears the log, even if it cannot be copied to the caller. */
    int takeLog(ByteBuffer request) {
        int id = request.getInt(Uapi.KvmDirtyLog.SLOT);
        if (isBeyond(id)) {
            return host.refuse(VmAnswer.DIRTY_LOG_SLOT);
        }
        Slot slot = slots.get(id);
        BitSet log = logs.get(id);
        if (slot == null || log == null) {
            return host.refuse(VmAnswer.DIRTY_LOG_NONE);
        }
        long pages = slot.size / PAGE;
        ByteBuffer bitmap = ByteBuffer.allocate((int) ((pages + Long.SIZE - 1) / Long.SIZE * Long.BYTES))
                .order(ByteOrder.LITTLE_ENDIAN)
                .put(0, log.toByteArray());
        log.clear();
        return host.copyOut(request.getLong(Uapi.KvmDirtyLog.DIRTY_BITMAP), bitmap, bitmap.capacity());
    }

    private static boolean endsBelow(long end, Slot slot) {
        return slot.user >= 0 && slot.size >= 0 && slot.user <= end - slot.size;
    }

    private static int space(int id) {
        return id >>> 16;
    }

    private Optional<Map.Entry<Integer, Slot>> slot(long guest) {
        Map.@Nullable Entry<Long, Integer> below = ids(0).floorEntry(guest);
        @Nullable Slot slot = below == null ? null : slots.get(below.getValue());
        return below != null && slot != null && guest < slot.end()
                ? Optional.of(Map.entry(below.getValue(), slot))
                : Optional.empty();
    }

    /** Returns the address in the caller's memory at which a guest-physical address is mapped. */
    public Optional<Long> user(long guest) {
        return slot(guest).map(slot -> slot.getValue().user + guest - slot.getValue().guest);
    }

    /** Whether a guest's write to an address changes memory. */
    public boolean isWritable(long guest) {
        Optional<Map.Entry<Integer, Slot>> slot = slot(guest);
        if (slot.isPresent() && slot.get().getValue().isReadOnly()) {
            host.note(VmAnswer.MEMORY_READ_ONLY);
        }
        return slot.isPresent() && !slot.get().getValue().isReadOnly();
    }

    /** Marks pages that the guest or KVM has written as dirty in the log of their slot. */
    public void written(long guest, int length) {
        slot(guest).ifPresent(slot -> {
            BitSet log = logs.get(slot.getKey());
            if (log != null) {
                host.note(VmAnswer.DIRTY_LOG_OF_GUEST);
                long at = guest - slot.getValue().guest;
                log.set((int) (at / PAGE), (int) ((at + length - 1) / PAGE) + 1);
            }
        });
    }
}
