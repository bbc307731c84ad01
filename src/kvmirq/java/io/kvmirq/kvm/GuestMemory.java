/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A VM's memory slot, with memory that the guest shares with this process. Until the slot is removed, the memory stays
 * mapped and the VM open, even if their handles are closed earlier. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="memory"}
 */
public final class GuestMemory implements AutoCloseable {
    private final VmCalls calls;
    private final MemorySlots slots;
    private final int slot;
    private final long guestAddress;
    private final Mapping mapping;
    /** The slot's {@code KVM_MEM_*} flags, without KVM_MEM_LOG_DIRTY_PAGES. */
    private final int flags;

    private final Fd.Lease vmLease;
    private final Mapping.Lease pages;
    /** The owner of memory that was mapped for this slot; null if the caller passed a mapping. */
    private final Mapping.@Nullable Owner own;
    /** Allocated in advance for {@link #close}, which must not allocate. */
    private final ByteBuffer removal;

    private @Nullable DirtyLog log;
    private boolean closed;

    private GuestMemory(
            VmCalls calls,
            MemorySlots slots,
            long guestAddress,
            Mapping mapping,
            Mapping.@Nullable Owner own,
            boolean readOnly) {
        this.calls = calls;
        this.slots = slots;
        this.guestAddress = guestAddress;
        this.mapping = mapping;
        this.own = own;
        this.flags = readOnly ? Uapi.KVM_MEM_READONLY : 0;
        ChipPage.of(calls).forEach(page -> page.requireFree(calls.vm(), guestAddress, mapping.length()));
        try (Undo undo = new Undo()) {
            this.vmLease = undo.add(calls.vm().lease());
            this.slot = slots.take(undo);
            this.removal = VmCalls.memoryRegion(slot, 0, 0, 0);
            this.pages = undo.add(mapping.lease());
            undo.step(() -> slots.add(slot, guestAddress, mapping.length()), () -> slots.remove(slot));
            calls.setMemory(vmLease, region(flags), pages);
            undo.keep();
        }
    }

    static GuestMemory anonymous(VmCalls calls, MemorySlots slots, long guestAddress, long length) {
        if (length <= 0) {
            throw new IllegalArgumentException(
                    "memory of " + length + " bytes is invalid: expected a positive multiple of the page size");
        }
        try (Undo undo = new Undo()) {
            Mapping.Owner own = undo.add(Mapping.anonymous(calls.vm().kernel(), length));
            GuestMemory memory = new GuestMemory(calls, slots, guestAddress, own.mapping(), own, false);
            undo.keep();
            return memory;
        }
    }

    static GuestMemory map(VmCalls calls, MemorySlots slots, long guestAddress, Mapping mapping, boolean readOnly) {
        Objects.requireNonNull(mapping, "memory is null");
        return new GuestMemory(calls, slots, guestAddress, mapping, null, readOnly);
    }

    /**
     * This memory's mapping, in which offset 0 is {@link #guestAddress}. A mapping passed by the caller is usable until
     * its owner is closed, and a mapping made by the VM until {@link #close}.
     */
    public Mapping mapping() {
        return mapping;
    }

    /** The guest-physical address of the memory's first byte. */
    public long guestAddress() {
        return guestAddress;
    }

    /** Whether guest writes exit to the VMM instead of reaching the memory. */
    public boolean isReadOnly() {
        return flags == Uapi.KVM_MEM_READONLY;
    }

    /**
     * Makes KVM log the pages that the guest writes (KVM_MEM_LOG_DIRTY_PAGES) until the returned log is closed.
     *
     * @throws io.kvmirq.KernelException ENOMEM
     * @throws IllegalStateException while another log of this memory is open, and after {@link #close}
     */
    public synchronized DirtyLog logDirtyPages() {
        requireOpen();
        if (log != null) {
            throw new IllegalStateException(this + " has a dirty log already: close that one first");
        }
        DirtyLog made = new DirtyLog(this, slot, mapping.length(), region(flags));
        calls.setMemory(vmLease, region(flags | Uapi.KVM_MEM_LOG_DIRTY_PAGES), pages);
        log = made;
        return made;
    }

    synchronized void take(DirtyLog taken, ByteBuffer request, ByteBuffer bitmap) {
        requireOpen();
        if (log != taken) {
            throw new ClosedHandleException(taken.toString());
        }
        calls.getDirtyLog(vmLease, slot, request, bitmap);
    }

    /** Ends a log. Never fails. If the kernel refuses, it keeps logging. */
    synchronized void end(DirtyLog ended, ByteBuffer unlogged) {
        if (log == ended && !closed) {
            calls.changeMemory(vmLease, unlogged, pages);
        }
        log = log == ended ? null : log;
    }

    private ByteBuffer region(int withFlags) {
        return VmCalls.memoryRegion(slot, withFlags, guestAddress, mapping.length());
    }

    private void requireOpen() {
        if (closed) {
            throw new ClosedHandleException(toString());
        }
    }

    /**
     * Removes the memory slot and then releases the memory. If the removal fails, the guest can still write, so the
     * memory stays mapped until the process exits, and the slot is not reused. Idempotent, never fails.
     */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        boolean removed = calls.removeMemory(vmLease, removal);
        closed = true;
        if (removed) {
            pages.close();
            slots.remove(slot);
            slots.giveBack(slot);
        } else {
            pages.abandon();
        }
        if (own != null) {
            own.close();
        }
        vmLease.close();
    }

    @Override
    public String toString() {
        return "guest memory of " + mapping.length() + " bytes at 0x" + Long.toHexString(guestAddress) + " in slot "
                + slot + " of " + calls.vm();
    }
}
