/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaUnmap;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * A container of groups, {@code /dev/vfio/vfio}, that uses version 2 of the type 1 IOMMU driver. It can map memory once
 * it has a group, and drops its mappings when its last group leaves. Thread-safe.
 *
 * <p>Source: drivers/vfio/container.c, vfio_iommu_type1.c.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="steps"}
 */
public final class VfioContainer extends DmaSpace {
    /** Whether the container may already have its IOMMU type. If so, setting the type again fails with EINVAL. */
    private boolean maybeSet;

    private VfioContainer(VfioCalls calls, Fd fd, boolean adopted) {
        super(calls, fd);
        this.maybeSet = adopted;
    }

    /** Opens a new container. Throws KernelException ENOENT if VFIO is not loaded, EACCES if access is denied. */
    public static VfioContainer create(Kernel kernel) {
        VfioCalls calls = new VfioCalls(kernel);
        return calls.open(
                KernelCall.VFIO_CONTAINER_OPEN,
                "vfio container",
                "/dev/vfio/vfio",
                Optional.empty(),
                fd -> new VfioContainer(calls, fd, false));
    }

    /**
     * Wraps a container that other code opened, with or without groups.
     *
     * @param number the descriptor of {@code /dev/vfio/vfio}
     * @throws IllegalArgumentException if /proc shows that the descriptor is not open, or is another kind of file
     */
    public static VfioContainer adopt(Kernel kernel, int number, Ownership ownership) {
        Objects.requireNonNull(ownership, "ownership is null");
        VfioCalls calls = new VfioCalls(kernel);
        return calls.adoptContainer(number, ownership, fd -> new VfioContainer(calls, fd, true));
    }

    /** Adds a group, and sets the IOMMU type with the first one. After a failure, the group is not in the container. */
    synchronized void attach(Fd group, Supplier<Optional<String>> whyNotPermitted) {
        try (Undo undo = new Undo()) {
            undo.step(() -> calls().setContainer(group, file(), whyNotPermitted), () -> calls().unsetContainer(group));
            calls().setIommu(file(), maybeSet);
            maybeSet = true;
            undo.keep();
        }
    }

    /**
     * Reads the container's DMA ranges and limits.
     *
     * @throws io.kvmirq.KernelException EINVAL if the container has no device
     */
    public ContainerInfo info() {
        return ContainerInfo.parse(calls().iommuInfo(file()));
    }

    /**
     * Whether the IOMMU makes all devices' DMA coherent with CPU caches. If not, add the devices' files to KVM-VFIO,
     * because KVM otherwise ignores the guest's cache flushes. Also false if the container has no device.
     */
    public boolean isCoherent() {
        return calls().hasExtension(file(), UapiVfio.VFIO_DMA_CC_IOMMU);
    }

    @Override
    public List<DmaRange> ranges() {
        return info().ranges();
    }

    @Override
    void map(Fd.Lease lease, long iova, Mapping memory, boolean writable) {
        calls().mapInContainer(lease, iova, memory, writable);
    }

    @Override
    ByteBuffer newUnmapping() {
        return Buffers.allocate(VfioIommuType1DmaUnmap.SIZE);
    }

    @Override
    void unmap(Fd.Lease lease, ByteBuffer unmapping, long iova, long length) {
        calls().unmapInContainer(lease, unmapping, iova, length);
    }
}
