/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Mapping;
import java.nio.ByteBuffer;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;

/**
 * The addresses that devices use for DMA, as the IOMMU translates them: a container of type 1, or an address space of
 * an iommufd. Several devices may share one. Thread-safe.
 */
public abstract sealed class DmaSpace implements AutoCloseable permits VfioContainer, Ioas {
    private final VfioCalls calls;
    private final Fd fd;
    /** Those that the kernel has, as far as is known: a container forgets them with its last group. Also the lock. */
    private final Set<DmaMapping> mappings = new HashSet<>();

    private int devices;
    private boolean closed;
    private boolean forgotten;

    DmaSpace(VfioCalls calls, Fd fd) {
        this.calls = calls;
        this.fd = fd;
    }

    final VfioCalls calls() {
        return calls;
    }

    final Fd file() {
        return fd;
    }

    /**
     * Lets devices read and write memory. The kernel pins its pages.
     *
     * @param iova the address that devices use, a multiple of the page size
     * @throws io.kvmirq.KernelException EEXIST when a part of the range is mapped; EINVAL misaligned, in a range that
     *     the IOMMU reserves, or in a container without a device; ENOMEM beyond RLIMIT_MEMLOCK
     */
    public final DmaMapping map(long iova, Mapping memory) {
        return map(this, iova, memory, true);
    }

    /** Lets devices read memory; a device's write is refused by the IOMMU. Else as {@link #map}. */
    public final DmaMapping mapReadOnly(long iova, Mapping memory) {
        return map(this, iova, memory, false);
    }

    /**
     * The addresses that {@link #map} accepts, in rising order. Addresses that the IOMMU reserves, as for messages, or
     * does not translate are left out. A device that is attached later may take some away.
     *
     * @throws io.kvmirq.KernelException EINVAL for a container without a device; ENOTTY for an iommufd in its place before
     *     its first device
     */
    public abstract List<DmaRange> ranges();

    private static DmaMapping map(DmaSpace space, long iova, Mapping memory, boolean writable) {
        Objects.requireNonNull(memory, "memory is null");
        synchronized (space.mappings) {
            DmaMapping made = new DmaMapping(space, iova, memory, writable);
            space.mappings.removeIf(made::overlaps); // the kernel refuses what overlaps: it has forgotten those
            space.mappings.add(made);
            return made;
        }
    }

    final void end(DmaMapping mapping) {
        synchronized (mappings) {
            if (mappings.contains(mapping)) {
                mapping.unmap();
                mappings.remove(mapping); // not before: if that failed, the devices still have the memory
                forgetUnused();
            }
        }
    }

    /** A device is in the space, until {@link #unuse}. */
    final void use() {
        synchronized (mappings) {
            devices++;
        }
    }

    final void unuse() {
        synchronized (mappings) {
            devices--;
            forgetUnused();
        }
    }

    private void forgetUnused() {
        if (closed && !forgotten && devices == 0 && mappings.isEmpty()) {
            forget();
            forgotten = true;
        }
    }

    /** Takes from the kernel what does not go with the file. */
    void forget() {}

    abstract void map(Fd.Lease lease, long iova, Mapping memory, boolean writable);

    /** Memory for {@link #unmap}. */
    abstract ByteBuffer newUnmapping();

    /** Does not allocate. */
    abstract void unmap(Fd.Lease lease, ByteBuffer unmapping, long iova, long length);

    /**
     * Refuses new mappings. Devices in it keep it, and mappings keep it until they are closed. Idempotent, never fails.
     */
    @Override
    public final void close() {
        synchronized (mappings) {
            calls.closeFile(fd);
            closed = true;
            forgetUnused();
        }
    }

    @Override
    public final String toString() {
        return fd.toString();
    }
}
