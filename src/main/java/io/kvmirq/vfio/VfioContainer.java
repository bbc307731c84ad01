/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Ownership;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * A container of groups, {@code /dev/vfio/vfio}, with the IOMMU driver of type 1, version 2. It can map memory once it
 * has a group, and forgets its mappings with its last one. Thread-safe.
 *
 * <p>Source: drivers/vfio/container.c, vfio_iommu_type1.c.
 */
public final class VfioContainer extends DmaSpace {
    /** Whether the container may have its IOMMU type already; then the kernel answers EINVAL to setting it again. */
    private boolean maybeSet;

    private VfioContainer(VfioCalls calls, Fd fd, boolean adopted) {
        super(calls, fd);
        this.maybeSet = adopted;
    }

    /** @throws io.kvmirq.KernelException ENOENT when VFIO is not loaded; EACCES */
    public static VfioContainer create(Kernel kernel) {
        VfioCalls calls = new VfioCalls(kernel);
        Fd fd = calls.open(KernelCall.VFIO_CONTAINER_OPEN, "vfio container", "/dev/vfio/vfio", Optional.empty());
        return new VfioContainer(calls, fd, false);
    }

    /**
     * A container that was opened elsewhere, with or without groups.
     *
     * @param number the descriptor of {@code /dev/vfio/vfio}
     * @throws IllegalArgumentException if /proc says that it is not open, or something else
     */
    public static VfioContainer adopt(Kernel kernel, int number, Ownership ownership) {
        VfioCalls calls = new VfioCalls(kernel);
        return new VfioContainer(calls, calls.adoptContainer(number, ownership), true);
    }

    /** Takes a group in, and sets the IOMMU type with the first one; a failure leaves the group outside. */
    synchronized void attach(VfioGroup group, Supplier<Optional<String>> whyNotPermitted) {
        calls().setContainer(group.fd(), file(), whyNotPermitted);
        try {
            calls().setIommu(file(), maybeSet);
            maybeSet = true;
        } catch (RuntimeException e) {
            calls().unsetContainer(group.fd());
            throw e;
        }
    }

    @Override
    void map(Fd.Lease lease, long iova, Mapping memory, boolean writable) {
        calls().mapInContainer(lease, iova, memory, writable);
    }

    @Override
    void unmap(Fd.Lease lease, long iova, long length) {
        calls().unmapInContainer(lease, iova, length);
    }
}
