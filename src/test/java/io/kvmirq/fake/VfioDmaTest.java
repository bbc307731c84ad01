/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.VfioUser.map;
import static io.kvmirq.fake.VfioUser.refused;
import static io.kvmirq.fake.VfioUser.unmap;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.NotModelledException;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaUnmap;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** The mappings of a container with the type 1 IOMMU driver. */
class VfioDmaTest {
    private static final int READ_WRITE = UapiVfio.VFIO_DMA_MAP_FLAG_READ | UapiVfio.VFIO_DMA_MAP_FLAG_WRITE;
    private static final int ALL = UapiVfio.VFIO_DMA_UNMAP_FLAG_ALL;
    private static final int DIRTY = UapiVfio.VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
    private static final int PAGES = 4 * 4096;
    /** The last page. */
    private static final long TOP = -4096;

    /** A container with mappings, and memory to map. */
    private record Dma(VfioUser user, int container, long memory) implements AutoCloseable {
        static Dma of(String profile, int type) {
            FakeKernel kernel = new FakeKernel(Profile.of(profile));
            kernel.pciDevice(VfioUser.NAME, 1).add();
            VfioUser user = new VfioUser(kernel);
            int container = user.container();
            assertThat(user.setContainer(user.open("/dev/vfio/1"), container)).isZero();
            assertThat(user.ioctl(container, UapiVfio.VFIO_SET_IOMMU, type)).isZero();
            long memory =
                    kernel.mmap(PAGES, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
            return new Dma(user, container, memory);
        }

        int map(ByteBuffer map) {
            return user.ioctl(container, UapiVfio.VFIO_IOMMU_MAP_DMA, map);
        }

        int map(long iova, long size) {
            return map(VfioUser.map(32, READ_WRITE, memory, iova, size));
        }

        int unmap(ByteBuffer unmap) {
            return user.ioctl(container, UapiVfio.VFIO_IOMMU_UNMAP_DMA, unmap);
        }

        /** @return how much was unmapped, or a negative errno */
        long unmap(int flags, long iova, long size) {
            ByteBuffer unmap = VfioUser.unmap(24, flags, iova, size);
            int result = unmap(unmap);
            return result < 0 ? result : unmap.getLong(VfioIommuType1DmaUnmap.LENGTH);
        }

        @Override
        public void close() {
            user.close();
        }
    }

    @Test
    void mapIsCheckedInOrder() {
        try (Dma dma = Dma.of("7.1", UapiVfio.VFIO_TYPE1v2_IOMMU)) {
            long memory = dma.memory();
            assertThat(dma.user().ioctl(dma.container(), UapiVfio.VFIO_IOMMU_MAP_DMA, 0))
                    .isEqualTo(refused(Errno.EFAULT));
            assertThat(dma.map(map(31, 0, memory, TOP, 8192))).isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.map(map(32, 8, memory, TOP, 8192))).isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.map(map(32, 0, memory, TOP, 0))).isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.map(map(32, 0, memory, TOP, 8192)))
                    .as("wraps, and may not be accessed")
                    .isEqualTo(refused(Errno.EOVERFLOW));
            assertThat(dma.map(map(32, 0, TOP, 0, 8192))).isEqualTo(refused(Errno.EOVERFLOW));
            assertThat(dma.map(map(32, 0, memory, 0, 4096))).isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.map(map(32, READ_WRITE, memory, 0, 4095))).isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.map(map(32, READ_WRITE, memory + 1, 0, 4096))).isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.map(0x1000, 8192)).isZero();
            assertThat(dma.map(map(32, READ_WRITE, 0, 0x2000, 4096)))
                    .as("mapped, and no memory")
                    .isEqualTo(refused(Errno.EEXIST));
            assertThat(dma.map(map(32, READ_WRITE, 0, 0xfee00000L, 4096)))
                    .as("reserved, and no memory")
                    .isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.map(map(32, READ_WRITE, 0, 0x8000, 4096))).isEqualTo(refused(Errno.EFAULT));
            assertThat(dma.map(0, 4096)).isZero();
            assertThat(dma.map(0x3000, 4096)).isZero();
        }
    }

    @Test
    void rangeThatWrapsIsInvalidBefore618() {
        try (Dma dma = Dma.of("6.12", UapiVfio.VFIO_TYPE1v2_IOMMU)) {
            assertThat(dma.map(map(32, READ_WRITE, dma.memory(), TOP, 8192))).isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.unmap(0, TOP, 8192)).isEqualTo(refused(Errno.EINVAL));
        }
    }

    @Test
    void whatIsNotModelledIsNamed() {
        try (Dma dma = Dma.of("7.1", UapiVfio.VFIO_TYPE1v2_IOMMU)) {
            int vaddr = UapiVfio.VFIO_DMA_MAP_FLAG_VADDR;
            assertThatThrownBy(() -> dma.map(map(32, vaddr, dma.memory(), 0, 4096)))
                    .isInstanceOf(NotModelledException.class);
            assertThatThrownBy(() -> dma.map(1L << 39, 4096)).isInstanceOf(NotModelledException.class);
            assertThatThrownBy(() -> dma.unmap(DIRTY, 0, 4096)).isInstanceOf(NotModelledException.class);
        }
    }

    @Test
    void containerHasAMostOfMappings() {
        try (Dma dma = Dma.of("6.18", UapiVfio.VFIO_TYPE1v2_IOMMU)) {
            ByteBuffer map = map(32, READ_WRITE, dma.memory(), 0, 4096);
            long address = dma.user().kernel.addressOf(map);
            for (int i = 0; i < 65535; i++) {
                map.putLong(UapiVfio.VfioIommuType1DmaMap.IOVA, (1L << 32) + i * 4096L);
                assertThat(dma.user().ioctl(dma.container(), UapiVfio.VFIO_IOMMU_MAP_DMA, address))
                        .isZero();
            }
            assertThat(dma.map(0xfee00000L, 4096)).as("too many, and reserved").isEqualTo(refused(Errno.ENOSPC));
        }
    }

    @Test
    void unmapIsCheckedInOrder() {
        try (Dma dma = Dma.of("7.1", UapiVfio.VFIO_TYPE1v2_IOMMU)) {
            assertThat(dma.user().ioctl(dma.container(), UapiVfio.VFIO_IOMMU_UNMAP_DMA, 0))
                    .isEqualTo(refused(Errno.EFAULT));
            assertThat(dma.unmap(unmap(23, 0, 0, 4096))).isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.unmap(8, 0, 4096)).isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.unmap(DIRTY | ALL, 0, 0)).isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.unmap(0, TOP + 1, 8192))
                    .as("wraps, and between pages")
                    .isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.unmap(0, 0, 0)).isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.unmap(ALL, 0, 4096)).isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.unmap(0, TOP, 8192)).isEqualTo(refused(Errno.EOVERFLOW));
            assertThat(dma.unmap(0, 0, 4096)).as("nothing is mapped").isZero();
        }
    }

    @Test
    void version2SplitsNoMapping() {
        try (Dma dma = Dma.of("6.12", UapiVfio.VFIO_TYPE1v2_IOMMU)) {
            assertThat(dma.map(0x1000, 8192)).isZero();
            assertThat(dma.map(0x3000, 8192)).isZero();
            assertThat(dma.unmap(0, 0x2000, 4096)).isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.unmap(0, 0x1000, 4096)).isEqualTo(refused(Errno.EINVAL));
            assertThat(dma.unmap(0, 0x1000, 0x4000)).isEqualTo(0x4000);
            assertThat(dma.map(0x2000, 8192)).isZero();
            assertThat(dma.unmap(ALL, 0, 0)).isEqualTo(8192);
            assertThat(dma.unmap(ALL, 0, 0)).isZero();
        }
    }

    /** The first version unmaps whole mappings that begin in the range. */
    @Test
    void version1UnmapsMore() {
        try (Dma dma = Dma.of("6.12", UapiVfio.VFIO_TYPE1_IOMMU)) {
            assertThat(dma.map(0x1000, 8192)).isZero();
            assertThat(dma.unmap(0, 0x2000, 4096)).isZero();
            assertThat(dma.unmap(0, 0x1000, 4096)).isEqualTo(8192);
        }
    }
}
