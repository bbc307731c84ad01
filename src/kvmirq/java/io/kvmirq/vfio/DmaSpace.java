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
 * An address space that the IOMMU translates for device DMA, either a type 1 VFIO container or an iommufd's IOAS.
 * Several devices can share a space. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="steps"}
 */
public abstract sealed class DmaSpace implements AutoCloseable permits VfioContainer, Ioas {
    private final VfioCalls calls;
    private final Fd fd;
    /** The mappings that the kernel may have. A container drops them when its last group leaves. Also the lock. */
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
     * Maps memory so that devices can read and write it. The kernel pins its pages.
     *
     * @param iova the address that devices use, a multiple of the page size
     * @throws io.kvmirq.KernelException EEXIST if part of the range is already mapped; EINVAL if the range is
     *     misaligned, if the IOMMU reserves part of it, or if the container has no device; ENOMEM if RLIMIT_MEMLOCK is
     *     too low
     */
    public final DmaMapping map(long iova, Mapping memory) {
        return map(this, iova, memory, true);
    }

    /** Maps memory so that devices can read it, but the IOMMU blocks device writes. Otherwise like {@link #map}. */
    public final DmaMapping mapReadOnly(long iova, Mapping memory) {
        return map(this, iova, memory, false);
    }

    /**
     * The addresses that {@link #map} accepts, in ascending order, without those that the IOMMU reserves (such as the
     * MSI window) or does not translate. Attaching a device can shorten the list.
     *
     * @throws io.kvmirq.KernelException for a container without a device: EINVAL, or ENOTTY if {@code /dev/vfio/vfio}
     *     is an iommufd (CONFIG_IOMMUFD_VFIO_CONTAINER)
     */
    public abstract List<DmaRange> ranges();

    private static DmaMapping map(DmaSpace space, long iova, Mapping memory, boolean writable) {
        Objects.requireNonNull(memory, "memory is null");
        synchronized (space.mappings) {
            DmaMapping made = new DmaMapping(space, iova, memory, writable);
            space.mappings.removeIf(made::overlaps); // the kernel refuses overlaps, so it must have dropped these
            space.mappings.add(made);
            return made;
        }
    }

    final void end(DmaMapping mapping) {
        synchronized (mappings) {
            if (mappings.contains(mapping)) {
                mapping.unmap();
                mappings.remove(mapping); // not earlier, in case the unmapping fails
                forgetUnused();
            }
        }
    }

    /** Counts a device that uses the space, until {@link #unuse}. */
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

    /** Removes kernel objects that would outlive the file's close. */
    void forget() {}

    abstract void map(Fd.Lease lease, long iova, Mapping memory, boolean writable);

    /** Allocates the argument of {@link #unmap}. */
    abstract ByteBuffer newUnmapping();

    /** Does not allocate. */
    abstract void unmap(Fd.Lease lease, ByteBuffer unmapping, long iova, long length);

    /** Refuses new mappings. The space exists until its devices and mappings are closed. Idempotent, never fails. */
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
