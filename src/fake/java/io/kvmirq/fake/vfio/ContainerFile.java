/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.uapi.UapiVfio;
import java.util.function.LongPredicate;
import org.jspecify.annotations.Nullable;

/** /dev/vfio/vfio with the type 1 IOMMU driver. Groups keep it open. Source: drivers/vfio/container.c. */
final class ContainerFile extends FakeFile {
    /** VFIO_TYPE1_NESTING_IOMMU, VFIO_UNMAP_ALL and VFIO_UPDATE_VADDR of vfio.h. */
    private static final int NESTING = 6;

    private static final int UNMAP_ALL = 9;
    private static final int UPDATE_VADDR = 10;

    private static final Requests<ContainerFile> WITHOUT_IOMMU =
            requests(new Requests<>(VfioAnswer.VFIO_CONTAINER_WITHOUT_IOMMU, number -> null));

    private static final Requests<ContainerFile> WITH_IOMMU = requests(new Requests<>(
                    VfioAnswer.VFIO_UNKNOWN_REQUEST,
                    number -> number == UapiVfio.VFIO_IOMMU_DIRTY_PAGES ? "VFIO_IOMMU_DIRTY_PAGES" : null))
            .value(UapiVfio.VFIO_IOMMU_GET_INFO, (file, address) -> file.dma().info(address))
            .value(UapiVfio.VFIO_IOMMU_MAP_DMA, (file, address) -> file.dma().map(address))
            .value(UapiVfio.VFIO_IOMMU_UNMAP_DMA, (file, address) -> file.dma().unmap(address));

    private final LongPredicate mayPin;
    private int groups;

    private @Nullable DmaMappings dma;

    /** @param mayPin whether an IOMMU driver may pin this many more bytes */
    ContainerFile(KernelOfFile host, LongPredicate mayPin) {
        super(host);
        this.mayPin = mayPin;
    }

    /** The size of all mappings in bytes. */
    long pinned() {
        return dma == null ? 0 : dma.bytes();
    }

    private static Requests<ContainerFile> requests(Requests<ContainerFile> empty) {
        return empty.value(UapiVfio.VFIO_GET_API_VERSION, (file, none) -> UapiVfio.VFIO_API_VERSION)
                .value(UapiVfio.VFIO_CHECK_EXTENSION, ContainerFile::checkExtension)
                .value(UapiVfio.VFIO_SET_IOMMU, ContainerFile::setIommu);
    }

    @Override
    public int ioctl(long request, long argument) {
        return (dma == null ? WITHOUT_IOMMU : WITH_IOMMU).answer(this, request, argument);
    }

    /** A group is attached. */
    void join() {
        groups++;
    }

    boolean hasIommu() {
        return dma != null;
    }

    private DmaMappings dma() {
        if (dma == null) {
            throw new IllegalStateException("the container has no IOMMU");
        }
        return dma;
    }

    /** A group is detached. With the last group, the IOMMU driver and its mappings are removed. */
    void leave() {
        groups--;
        if (groups == 0) {
            dma = null;
        }
    }

    private int checkExtension(long extension) {
        host.note(VfioAnswer.VFIO_EXTENSIONS);
        boolean known = extension == UapiVfio.VFIO_TYPE1_IOMMU
                || extension == UapiVfio.VFIO_TYPE1v2_IOMMU
                || extension == UapiVfio.VFIO_DMA_CC_IOMMU && dma != null && isCoherent()
                || extension == NESTING && hasNesting()
                || extension == UNMAP_ALL
                || extension == UPDATE_VADDR && dma != null;
        return known ? 1 : 0;
    }

    /** {@code enforce_cache_coherency()}: AMD's driver can; VT-d needs snoop control, which the modelled unit lacks. */
    private boolean isCoherent() {
        return host.build().hardware().isAmd();
    }

    private boolean hasNesting() {
        return !host.build().isSince(6, 13);
    }

    private int setIommu(long type) {
        if (groups == 0 || dma != null) {
            return host.refuse(VfioAnswer.VFIO_IOMMU_STATE);
        }
        if (type == UapiVfio.VFIO_TYPE1_IOMMU || type == NESTING && hasNesting()) {
            throw new NotModelledException("another type of IOMMU than VFIO_TYPE1v2_IOMMU");
        }
        if (type != UapiVfio.VFIO_TYPE1v2_IOMMU) {
            return host.refuse(type == UNMAP_ALL ? VfioAnswer.VFIO_IOMMU_NO_TYPE : VfioAnswer.VFIO_IOMMU_TYPE);
        }
        dma = new DmaMappings(host, mayPin);
        return 0;
    }
}
