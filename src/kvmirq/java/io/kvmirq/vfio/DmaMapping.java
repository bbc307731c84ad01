/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;

/**
 * A DMA mapping of memory for devices. It keeps its {@link DmaSpace} open and the memory mapped. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="steps"}
 */
public final class DmaMapping implements AutoCloseable {
    private final DmaSpace space;
    private final long iova;
    private final long length;
    private final Fd.Lease lease;
    private final Mapping.Lease pages;
    /** Allocated in advance for {@link #close}, which must not allocate. */
    private final ByteBuffer unmapping;

    DmaMapping(DmaSpace space, long iova, Mapping memory, boolean writable) {
        this.space = space;
        this.iova = iova;
        this.length = memory.length();
        this.unmapping = space.newUnmapping();
        try (Undo undo = new Undo()) {
            this.lease = undo.add(space.file().lease());
            this.pages = undo.add(memory.lease());
            space.map(lease, iova, memory, writable);
            undo.keep();
        }
    }

    /** The first address that devices use for this memory. */
    public long iova() {
        return iova;
    }

    boolean overlaps(DmaMapping other) {
        return Long.compareUnsigned(iova, other.iova + other.length - 1) <= 0
                && Long.compareUnsigned(other.iova, iova + length - 1) <= 0;
    }

    void unmap() {
        space.unmap(lease, unmapping, iova, length);
    }

    /**
     * Removes the mapping. The IOMMU then blocks device accesses to these addresses. If the container dropped the
     * mapping because its last group left, a newer mapping in the same range stays. Idempotent, never fails.
     */
    @Override
    public void close() {
        space.end(this);
        lease.close();
        pages.close();
    }

    @Override
    public String toString() {
        return length + " bytes at iova 0x" + Long.toHexString(iova) + " of " + space;
    }
}
