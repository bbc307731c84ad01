/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.NotModelledException;
import io.kvmirq.contract.TestDevice;
import io.kvmirq.contract.VfioWorld;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaMap;
import java.nio.ByteBuffer;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;

/** The mappings of a container: the order of two checks, the limit, and requests that the fake does not model. */
class VfioDmaTest {
    private static final int PAGE = 4096;
    private static final long LAST_PAGE = -PAGE;

    @AutoClose
    private final VfioWorld vfio = VfioWorld.ofFake("7.1", TestDevice.EDU);

    private final int container = vfio.attach(vfio.group(TestDevice.EDU));
    private final long memory = vfio.world.map(2 * PAGE, -1);

    private int map(int flags, long vaddr, long iova, long size) {
        return vfio.mapDma(container, VfioIommuType1DmaMap.SIZE, flags, vaddr, iova, size);
    }

    @Test
    void rangeThatWrapsIsFoundBeforeTheMissingAccessAndAfterTheAlignment() {
        assertErrno(Errno.EOVERFLOW, map(0, memory, LAST_PAGE, 2 * PAGE));
        assertErrno(Errno.EOVERFLOW, map(0, LAST_PAGE, 0, 2 * PAGE));
        assertErrno(Errno.EINVAL, map(0, memory, LAST_PAGE, 0));
        assertErrno(Errno.EINVAL, map(8, memory, LAST_PAGE, 2 * PAGE));
        assertErrno(Errno.EINVAL, vfio.unmapDma(container, 0, LAST_PAGE + 1, 2 * PAGE));
    }

    @Test
    void containerHasAMostOfMappings() {
        int flags = UapiVfio.VFIO_DMA_MAP_FLAG_READ;
        ByteBuffer map = Structs.of("vfio_iommu_type1_dma_map", VfioIommuType1DmaMap.SIZE, flags, memory, 0, PAGE);
        long address = vfio.fake().libc().addressOf(map);
        for (int i = 0; i < 65535; i++) {
            map.putLong(VfioIommuType1DmaMap.IOVA, (1L << 32) + (long) i * PAGE);
            assertOk(vfio.ioctl(container, UapiVfio.VFIO_IOMMU_MAP_DMA, address));
        }
        assertErrno(Errno.ENOSPC, vfio.mapDma(container, memory, 0xfee00000L, PAGE)); // and reserved
    }

    private static void assertNotModelled(ThrowingCallable call) {
        assertThatThrownBy(call).isInstanceOf(NotModelledException.class);
    }

    @Test
    void whatIsNotModelledIsNamed() {
        assertNotModelled(() -> map(UapiVfio.VFIO_DMA_MAP_FLAG_VADDR, memory, 0, PAGE));
        assertNotModelled(() -> vfio.mapDma(container, memory, 1L << 39, PAGE));
        assertNotModelled(() -> vfio.unmapDma(container, UapiVfio.VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, 0, PAGE));
    }
}
