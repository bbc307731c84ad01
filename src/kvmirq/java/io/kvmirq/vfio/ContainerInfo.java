/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioInfoCapHeader;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1Info;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1InfoCapIovaRange;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1InfoCapMigration;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1InfoDmaAvail;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.OptionalLong;

/**
 * A VFIO container's DMA ranges and limits at the time of the call. A value that the kernel does not report is empty.
 *
 * @param pageSizes bit n is set if pages of 2^n bytes can be mapped
 * @param ranges the DMA addresses that can be mapped, in ascending order, without reserved addresses such as the MSI
 *     window. Before Linux 5.4, all addresses
 * @param mappingsLeft the number of mappings that the container still accepts
 * @param dirtyPageSizes bit n is set if dirty pages can be tracked in units of 2^n bytes
 */
public record ContainerInfo(
        long pageSizes, List<DmaRange> ranges, OptionalInt mappingsLeft, OptionalLong dirtyPageSizes) {
    private static final int RANGE = 16;

    public ContainerInfo {
        Objects.requireNonNull(ranges, "ranges is null");
        Objects.requireNonNull(mappingsLeft, "mappingsLeft is null");
        Objects.requireNonNull(dirtyPageSizes, "dirtyPageSizes is null");
        ranges = List.copyOf(ranges);
    }

    /** @param info struct vfio_iommu_type1_info and its capabilities, in ascending order of their offsets */
    static ContainerInfo parse(ByteBuffer info) {
        List<DmaRange> ranges = new ArrayList<>();
        OptionalInt left = OptionalInt.empty();
        OptionalLong dirty = OptionalLong.empty();
        boolean has = (info.getInt(VfioIommuType1Info.FLAGS) & UapiVfio.VFIO_IOMMU_INFO_CAPS) != 0;
        int next = has ? info.getInt(VfioIommuType1Info.CAP_OFFSET) : 0;
        for (int at = 0; next > at; ) {
            at = next;
            switch (info.getShort(at + VfioInfoCapHeader.ID)) {
                case UapiVfio.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE -> {
                    for (int i = 0; i < info.getInt(at + VfioIommuType1InfoCapIovaRange.NR_IOVAS); i++) {
                        int range = at + VfioIommuType1InfoCapIovaRange.SIZE + RANGE * i;
                        ranges.add(new DmaRange(info.getLong(range), info.getLong(range + Long.BYTES)));
                    }
                }
                case UapiVfio.VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION ->
                    dirty = OptionalLong.of(info.getLong(at + VfioIommuType1InfoCapMigration.PGSIZE_BITMAP));
                case UapiVfio.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL ->
                    left = OptionalInt.of(info.getInt(at + VfioIommuType1InfoDmaAvail.AVAIL));
                default -> {} // a capability of a newer kernel
            }
            next = info.getInt(at + VfioInfoCapHeader.NEXT);
        }
        List<DmaRange> all = ranges.isEmpty() ? List.of(new DmaRange(0, -1)) : ranges;
        return new ContainerInfo(info.getLong(VfioIommuType1Info.IOVA_PGSIZES), all, left, dirty);
    }
}
