/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Undo;

/** Memory that devices may use. It leases its {@link DmaSpace}. Thread-safe. */
public final class DmaMapping implements AutoCloseable {
    private final DmaSpace space;
    private final long iova;
    private final int length;
    private final Fd.Lease lease;
    private boolean closed;

    DmaMapping(DmaSpace space, long iova, Mapping memory, boolean writable) {
        this.space = space;
        this.iova = iova;
        this.length = memory.length();
        try (Undo undo = new Undo()) {
            this.lease = undo.add(space.file().lease());
            space.map(lease, iova, memory, writable);
            undo.keep();
        }
    }

    /** The address that devices use. */
    public long iova() {
        return iova;
    }

    /** Takes the memory from the devices: a later access by one of them is refused. Idempotent, never fails. */
    @Override
    public synchronized void close() {
        if (!closed) {
            closed = true;
            space.unmap(lease, iova, length);
            lease.close();
        }
    }

    @Override
    public String toString() {
        return length + " bytes at iova 0x" + Long.toHexString(iova) + " of " + space;
    }
}
