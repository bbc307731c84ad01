/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioInfoCapHeader;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaMap;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaUnmap;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1Info;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1InfoCapIovaRange;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1InfoCapMigration;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1InfoDmaAvail;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** The mappings of a container: drivers/vfio/vfio_iommu_type1.c. */
@VfioContract
class VfioDmaContract extends VfioSuite {
    private static final int READ_WRITE = UapiVfio.VFIO_DMA_MAP_FLAG_READ | UapiVfio.VFIO_DMA_MAP_FLAG_WRITE;
    private static final int ALL = UapiVfio.VFIO_DMA_UNMAP_FLAG_ALL;
    private static final int DIRTY = UapiVfio.VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
    private static final int MAP_SIZE = VfioIommuType1DmaMap.SIZE;
    /** The last page. */
    private static final long TOP = -PAGE;
    /** Where messages go on x86, and the window for them on arm64. */
    private static final long MESSAGES = 0xfee00000L;

    private static final long ARM64_MESSAGES = 0x8000000L;

    private int container;
    private long memory;

    private void attach() {
        int group = vfio.group(EDU);
        container = vfio.container();
        assertOk(vfio.setContainer(group, container));
        assertOk(vfio.setIommu(container, UapiVfio.VFIO_TYPE1v2_IOMMU));
        memory = world.map(4 * PAGE, -1);
    }

    private int map(int argsz, int flags, long vaddr, long iova, long size) {
        return vfio.mapDma(container, argsz, flags, vaddr, iova, size);
    }

    private int map(long iova, long size) {
        return vfio.mapDma(container, memory, iova, size);
    }

    private long unmap(int flags, long iova, long size) {
        return vfio.unmapDma(container, flags, iova, size);
    }

    private Errno wrapped() {
        return vfio.isSince(6, 18) ? Errno.EOVERFLOW : Errno.EINVAL;
    }

    // Each call breaks the next rule too

    @Test
    void structureOfAMappingIsCheckedFirst() {
        attach();
        assertErrno(Errno.EFAULT, vfio.ioctl(container, UapiVfio.VFIO_IOMMU_MAP_DMA, 0));
        assertErrno(Errno.EINVAL, map(MAP_SIZE - 1, READ_WRITE, memory, 0, PAGE));
        assertErrno(Errno.EINVAL, map(MAP_SIZE, READ_WRITE | 8, memory, 0, PAGE));
        assertErrno(Errno.EINVAL, map(MAP_SIZE, READ_WRITE, memory, 0, 0));
        assertErrno(Errno.EINVAL, map(MAP_SIZE, 0, memory, 0, PAGE));
    }

    @Test
    void rangeOfAMappingIsPagesThatDoNotWrap() {
        attach();
        assertErrno(Errno.EINVAL, map(0, PAGE - 1));
        assertErrno(Errno.EINVAL, map(1, PAGE));
        assertErrno(Errno.EINVAL, map(MAP_SIZE, READ_WRITE, memory + 1, 0, PAGE));
        assertErrno(wrapped(), map(TOP, 2 * PAGE));
        assertErrno(wrapped(), map(MAP_SIZE, READ_WRITE, TOP, 0, 2 * PAGE));
    }

    @Test
    void overlapIsFoundBeforeTheMemory() {
        attach();
        assertOk(map(PAGE, 2 * PAGE));
        assertErrno(Errno.EEXIST, map(MAP_SIZE, READ_WRITE, 0, 2 * PAGE, PAGE));
        assertErrno(Errno.EEXIST, map(0, 4 * PAGE));
        assertOk(map(0, PAGE));
        assertOk(map(3 * PAGE, PAGE));
    }

    @Test
    void addressesOfMessagesAreReservedAndFoundBeforeTheMemory() {
        attach();
        long messages = world.isArm64() ? ARM64_MESSAGES : MESSAGES;
        assertErrno(Errno.EINVAL, map(MAP_SIZE, READ_WRITE, 0, messages, PAGE));
        assertErrno(Errno.EINVAL, map(messages - PAGE, 2 * PAGE));
        assertOk(map(messages - PAGE, PAGE));
    }

    @Test
    void memoryMustBeThere() {
        attach();
        assertErrno(Errno.EFAULT, map(MAP_SIZE, READ_WRITE, 0, 0, PAGE));
        assertOk(map(0, PAGE));
    }

    /** A device that writes needs memory that the process may write. */
    @Test
    void memoryMustAllowWhatTheDeviceMayDo() {
        attach();
        long constant = world.map(PAGE, Uapi.PROT_READ, -1);
        assertErrno(Errno.EFAULT, map(MAP_SIZE, READ_WRITE, constant, 0, PAGE));
        assertErrno(Errno.EFAULT, map(MAP_SIZE, UapiVfio.VFIO_DMA_MAP_FLAG_WRITE, constant, 0, PAGE));
        assertOk(map(MAP_SIZE, UapiVfio.VFIO_DMA_MAP_FLAG_READ, constant, 0, PAGE));
        long closed = world.map(PAGE, 0, -1);
        assertErrno(Errno.EFAULT, map(MAP_SIZE, UapiVfio.VFIO_DMA_MAP_FLAG_READ, closed, PAGE, PAGE));
    }

    @Test
    void mappingIsGoneWithItsContainer() {
        attach();
        assertOk(map(0, PAGE));
        vfio.closeAll();
        attach();
        assertOk(map(0, PAGE));
    }

    // What the IOMMU driver says

    private static final int INFO_SIZE = VfioIommuType1Info.SIZE;

    private static ByteBuffer info(int argsz) {
        return Buffers.allocate(Math.max(argsz, INFO_SIZE)).putInt(VfioIommuType1Info.ARGSZ, argsz);
    }

    private ByteBuffer asked(int argsz) {
        ByteBuffer info = info(argsz);
        assertOk(vfio.ioctl(container, UapiVfio.VFIO_IOMMU_GET_INFO, info));
        return info;
    }

    /** The capabilities of a whole answer, by id, with where each begins. */
    private Map<Integer, Integer> capabilities(ByteBuffer info) {
        Map<Integer, Integer> found = new TreeMap<>();
        for (int at = info.getInt(VfioIommuType1Info.CAP_OFFSET);
                at != 0;
                at = info.getInt(at + VfioInfoCapHeader.NEXT)) {
            assertThat(info.getShort(at + VfioInfoCapHeader.VERSION)).isEqualTo((short) 1);
            found.put((int) info.getShort(at + VfioInfoCapHeader.ID), at);
        }
        return found;
    }

    @Test
    void structureOfAnInfoIsCheckedAndItsLengthIsSaid() {
        attach();
        assertErrno(Errno.EFAULT, vfio.ioctl(container, UapiVfio.VFIO_IOMMU_GET_INFO, 0));
        assertErrno(Errno.EINVAL, vfio.ioctl(container, UapiVfio.VFIO_IOMMU_GET_INFO, info(15)));
        int flags = UapiVfio.VFIO_IOMMU_INFO_PGSIZES | UapiVfio.VFIO_IOMMU_INFO_CAPS;
        ByteBuffer least = asked(16);
        int whole = least.getInt(VfioIommuType1Info.ARGSZ);
        assertThat(least.getInt(VfioIommuType1Info.FLAGS)).isEqualTo(flags);
        assertThat(least.getLong(VfioIommuType1Info.IOVA_PGSIZES) & PAGE).isNotZero();
        assertThat(whole).isGreaterThan(INFO_SIZE);
        for (int argsz : new int[] {INFO_SIZE, whole - 1}) {
            ByteBuffer tooShort = asked(argsz);
            assertThat(tooShort.getInt(VfioIommuType1Info.ARGSZ)).isEqualTo(whole);
            assertThat(tooShort.getInt(VfioIommuType1Info.FLAGS)).isEqualTo(flags);
            assertThat(tooShort.getInt(VfioIommuType1Info.CAP_OFFSET)).isZero();
        }
        ByteBuffer all = asked(whole + 100);
        assertThat(all.getInt(VfioIommuType1Info.ARGSZ)).isEqualTo(whole + 100);
        assertThat(all.getInt(VfioIommuType1Info.CAP_OFFSET)).isEqualTo(INFO_SIZE);
        assertThat(capabilities(all)).containsOnlyKeys(1, 2, 3);
    }

    @Test
    void infoHasRangesMappingsLeftAndDirtyPages() {
        attach();
        int whole = asked(INFO_SIZE).getInt(VfioIommuType1Info.ARGSZ);
        ByteBuffer info = asked(whole);
        Map<Integer, Integer> at = capabilities(info);
        int left = at.get(UapiVfio.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) + VfioIommuType1InfoDmaAvail.AVAIL;
        assertThat(info.getInt(left)).isEqualTo(65535);
        assertOk(map(0, PAGE));
        assertThat(asked(whole).getInt(left)).isEqualTo(65534);
        int dirty = at.get(UapiVfio.VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION);
        assertThat(info.getInt(dirty + VfioIommuType1InfoCapMigration.FLAGS)).isZero();
        assertThat(info.getLong(dirty + VfioIommuType1InfoCapMigration.PGSIZE_BITMAP))
                .isEqualTo(PAGE);
        assertThat(info.getLong(dirty + VfioIommuType1InfoCapMigration.MAX_DIRTY_BITMAP_SIZE))
                .isEqualTo(1L << 28);
        int ranges = at.get(UapiVfio.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) + VfioIommuType1InfoCapIovaRange.SIZE;
        long messages = world.isArm64() ? ARM64_MESSAGES : MESSAGES;
        assertThat(info.getLong(ranges)).isZero();
        assertThat(info.getLong(ranges + 8)).isEqualTo(messages - 1);
        assertThat(info.getLong(ranges + 16)).isEqualTo(messages + (1 << 20));
        assertThat(info.getLong(ranges + 24)).satisfies(last -> assertThat(Long.compareUnsigned(last, (1L << 39) - 1))
                .isNotNegative());
    }

    /** VT-d of the lab has no snoop control; AMD's driver always enforces coherency. */
    @Test
    void coherencyIsAskedOfTheDevicesOfAContainer() {
        attach();
        int coherent = vfio.ioctl(container, UapiVfio.VFIO_CHECK_EXTENSION, UapiVfio.VFIO_DMA_CC_IOMMU);
        assertThat(coherent).isBetween(0, world.isArm64() ? 0 : 1);
        assertThat(vfio.ioctl(vfio.container(), UapiVfio.VFIO_CHECK_EXTENSION, UapiVfio.VFIO_DMA_CC_IOMMU))
                .isZero();
    }

    // Unmapping

    @Test
    void structureAndRangeOfAnUnmappingAreChecked() {
        attach();
        assertErrno(Errno.EFAULT, vfio.ioctl(container, UapiVfio.VFIO_IOMMU_UNMAP_DMA, 0));
        assertErrno(Errno.EINVAL, vfio.unmapDma(container, VfioIommuType1DmaUnmap.SIZE - 1, 0, 0, PAGE));
        assertErrno(Errno.EINVAL, unmap(8, 0, PAGE));
        assertErrno(Errno.EINVAL, unmap(DIRTY | ALL, 0, 0));
        assertErrno(Errno.EINVAL, unmap(0, 1, PAGE));
        assertErrno(Errno.EINVAL, unmap(0, 0, 0));
        assertErrno(Errno.EINVAL, unmap(0, 0, PAGE - 1));
        assertErrno(wrapped(), unmap(0, TOP, 2 * PAGE));
    }

    @Test
    void unmappingNothingSucceeds() {
        attach();
        assertThat(unmap(0, 0, PAGE)).isZero();
    }

    @Test
    void mappingIsNotSplit() {
        attach();
        assertOk(map(PAGE, 2 * PAGE));
        assertOk(map(3 * PAGE, 2 * PAGE));
        assertErrno(Errno.EINVAL, unmap(0, 2 * PAGE, PAGE));
        assertErrno(Errno.EINVAL, unmap(0, PAGE, PAGE));
        assertErrno(Errno.EINVAL, unmap(0, 2 * PAGE, 2 * PAGE));
        assertThat(unmap(0, PAGE, 4 * PAGE)).isEqualTo(4 * PAGE);
    }

    @Test
    void allMappingsAreUnmappedWithoutARange() {
        world.assumeReal("VFIO_DMA_UNMAP_FLAG_ALL");
        attach();
        assertThat(unmap(ALL, 0, 0)).isZero();
        assertErrno(Errno.EINVAL, unmap(ALL, 0, PAGE));
        assertErrno(Errno.EINVAL, unmap(ALL, PAGE, 0));
        assertOk(map(2 * PAGE, 2 * PAGE));
        assertThat(unmap(ALL, 0, 0)).isEqualTo(2 * PAGE);
    }
}
