/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/**
 * The pages that the guest or KVM wrote since the last {@link #take}. Device DMA and this process's writes through a
 * {@link io.kvmirq.kernel.Mapping} are not logged, but a page that the guest only read may be.
 *
 * <pre>{@code
 * try (DirtyLog log = memory.logDirtyPages()) {
 *     log.take();
 *     for (long page = log.next(0); page >= 0; page = log.next(page + DirtyLog.PAGE)) {
 *         copy(page);                                    // an offset of the mapping
 *     }
 * }
 * }</pre>
 *
 * <p>Thread-safe. {@link #take} allocates nothing.
 *
 * <p>Source: virt/kvm/kvm_main.c kvm_get_dirty_log_protect().
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="memory"}
 */
public final class DirtyLog implements AutoCloseable {
    /** The page size in bytes. */
    public static final int PAGE = 4096;

    private final GuestMemory memory;
    private final long pages;
    private final ByteBuffer request;
    /** One bit for each page, rounded up to whole longs. */
    private final ByteBuffer bitmap;
    /** Allocated in advance for {@link #close}, which must not allocate. */
    private final ByteBuffer unlogged;

    /** @param unlogged the request that turns logging off for the slot */
    DirtyLog(GuestMemory memory, int slot, long length, ByteBuffer unlogged) {
        this.memory = memory;
        this.pages = length / PAGE;
        this.unlogged = unlogged;
        this.bitmap = Buffers.allocate(Math.toIntExact((pages + Long.SIZE - 1) / Long.SIZE * Long.BYTES));
        this.request = Buffers.allocate(Uapi.KvmDirtyLog.SIZE).putInt(Uapi.KvmDirtyLog.SLOT, slot);
    }

    /** Reads and clears the kernel's log. Throws IllegalStateException if this log or the memory is closed. */
    public synchronized void take() {
        memory.take(this, request, bitmap);
    }

    /** The number of written pages that the last {@link #take} found. */
    public synchronized long count() {
        long count = 0;
        for (int at = 0; at < bitmap.limit(); at += Long.BYTES) {
            count += Long.bitCount(bitmap.getLong(at));
        }
        return count;
    }

    /** Whether the last {@link #take} found a write to the page that contains this offset of the mapping. */
    public synchronized boolean isDirty(long offset) {
        long page = page(offset);
        return (word(page) >>> page & 1) != 0;
    }

    /** The offset of the first written page at or after the page that contains {@code from}, or -1 if there is none. */
    public synchronized long next(long from) {
        long page = from == pages * PAGE ? pages : page(from);
        while (page < pages) {
            long word = word(page) >>> page;
            if (word != 0) {
                return (page + Long.numberOfTrailingZeros(word)) * PAGE;
            }
            page = (page | Long.SIZE - 1) + 1;
        }
        return -1;
    }

    private long page(long offset) {
        if (offset < 0 || offset >= pages * PAGE) {
            throw new IndexOutOfBoundsException(
                    "offset " + offset + " is outside of " + memory + ", which has " + pages * PAGE + " bytes");
        }
        return offset / PAGE;
    }

    private long word(long page) {
        return bitmap.getLong((int) (page / Long.SIZE * Long.BYTES));
    }

    /** Stops logging in the kernel. Idempotent, never fails. */
    @Override
    public void close() {
        memory.end(this, unlogged);
    }

    @Override
    public String toString() {
        return "dirty log of " + memory;
    }
}
