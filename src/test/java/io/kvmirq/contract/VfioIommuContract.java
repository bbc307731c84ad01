/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioInfoCapHeader;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1Info;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1InfoCapIovaRange;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** What the IOMMU of a container's devices translates: drivers/iommu/amd/iommu.c, and VT-d of 39 bits. */
@Tag("contract")
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.contract.VfioWorld#withIommu")
class VfioIommuContract extends VfioSuite {
    private static final int ROOM = 256;
    private static final long TRANSPORT = 0xfd_0000_0000L;
    private static final long TRANSPORT_END = 1L << 40;
    private static final int UNMAP_ALL = 9;

    private boolean amd;
    private int container;

    @BeforeEach
    void findIommu() {
        assumeTrue(!world.isArm64(), "needs an IOMMU of x86: make lab LAB=amd or intel runs this");
        assumeTrue(!vfio.isSince(6, 15), "since 6.15 the width of an IOMMU's page tables decides");
        amd = vfio.hasAmdVi();
    }

    private void attach(int type) {
        int group = vfio.group(EDU);
        container = vfio.container();
        assertOk(vfio.setContainer(group, container));
        assertOk(vfio.setIommu(container, type));
    }

    private ByteBuffer info() {
        ByteBuffer info = Buffers.allocate(ROOM).putInt(VfioIommuType1Info.ARGSZ, ROOM);
        assertOk(vfio.ioctl(container, UapiVfio.VFIO_IOMMU_GET_INFO, info));
        return info;
    }

    private long pageSizes() {
        return !amd ? 0x4020_1000L : vfio.isSince(6, 12) ? 0xf_ff7f_ffff_f000L : 0xffff_ff7f_ffff_f000L;
    }

    @Test
    void pageSizesAndRangesAreThoseOfTheIommu() {
        attach(UapiVfio.VFIO_TYPE1v2_IOMMU);
        ByteBuffer info = info();
        assertThat(info.getLong(VfioIommuType1Info.IOVA_PGSIZES)).isEqualTo(pageSizes());
        int at = info.getInt(VfioIommuType1Info.CAP_OFFSET);
        while (info.getShort(at) != UapiVfio.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
            at = info.getInt(at + VfioInfoCapHeader.NEXT);
        }
        List<Long> ranges = new ArrayList<>();
        for (int i = 0; i < 2 * info.getInt(at + VfioIommuType1InfoCapIovaRange.NR_IOVAS); i++) {
            ranges.add(info.getLong(at + VfioIommuType1InfoCapIovaRange.SIZE + i * Long.BYTES));
        }
        assertThat(ranges)
                .isEqualTo(
                        amd
                                ? List.of(0L, 0xfedf_ffffL, 0xfef0_0000L, TRANSPORT - 1, TRANSPORT_END, -1L)
                                : List.of(0L, 0xfedf_ffffL, 0xfef0_0000L, (1L << 39) - 1));
    }

    @Test
    void coherencyIsEnforcedByAmdAndByNoVtdWithoutSnoopControl() {
        attach(UapiVfio.VFIO_TYPE1v2_IOMMU);
        assertThat(vfio.ioctl(container, UapiVfio.VFIO_CHECK_EXTENSION, UapiVfio.VFIO_DMA_CC_IOMMU))
                .isEqualTo(amd ? 1 : 0);
    }

    @Test
    void addressesOfHyperTransportAreNotMapped() {
        assumeTrue(amd, "needs an IOMMU of AMD: make lab LAB=amd runs this");
        attach(UapiVfio.VFIO_TYPE1v2_IOMMU);
        long memory = world.map(2 * PAGE, -1);
        assertOk(vfio.mapDma(container, memory, TRANSPORT - PAGE, PAGE));
        assertErrno(Errno.EINVAL, vfio.mapDma(container, memory, TRANSPORT, PAGE));
        assertErrno(Errno.EINVAL, vfio.mapDma(container, memory, TRANSPORT_END - PAGE, 2 * PAGE));
        assertOk(vfio.mapDma(container, memory, TRANSPORT_END, PAGE));
    }

    /** UNMAP_ALL is an extension of the driver of type 1, and no type of it. */
    @Test
    void extensionIsNoType() {
        int group = vfio.group(EDU);
        container = vfio.container();
        assertOk(vfio.setContainer(group, container));
        assertErrno(Errno.EINVAL, vfio.setIommu(container, UNMAP_ALL));
        assertErrno(Errno.ENODEV, vfio.setIommu(container, UapiVfio.VFIO_DMA_CC_IOMMU));
    }
}
