/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.NotModelledException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.contract.VfioFiles;
import io.kvmirq.contract.VfioWorld;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiIommufd;
import io.kvmirq.uapi.UapiIommufd.IommuIoasIovaRanges;
import io.kvmirq.uapi.UapiIommufd.IommuIoasMap;
import io.kvmirq.uapi.UapiIommufd.IommuIoasUnmap;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;

/** An iommufd: its objects, and its mappings. */
class VfioIommufdTest {
    private static final int FIXED = UapiIommufd.IOMMU_IOAS_MAP_FIXED_IOVA;
    private static final int READ = UapiIommufd.IOMMU_IOAS_MAP_READABLE;
    private static final int PAGE = 4096;
    private static final String NAME = "0000:00:02.0";

    @AutoClose
    private final VfioWorld vfio = VfioWorld.ofFake("7.1,cdev");

    private final VfioFiles files = new VfioFiles(vfio);
    private final int iommufd = files.iommufd();
    private final long memory = vfio.world.map(4 * PAGE, -1);

    private int map(int space, int flags, long iova, long vaddr, long length) {
        return vfio.ioctl(
                iommufd,
                UapiIommufd.IOMMU_IOAS_MAP,
                Structs.of("iommu_ioas_map", IommuIoasMap.SIZE, flags, space, vaddr, length, iova));
    }

    /** Returns how much was unmapped, or a negative errno. */
    private long unmap(int space, long iova, long length) {
        ByteBuffer unmap = Structs.of("iommu_ioas_unmap", IommuIoasUnmap.SIZE, space, iova, length);
        int result = vfio.ioctl(iommufd, UapiIommufd.IOMMU_IOAS_UNMAP, unmap);
        return result < 0 ? result : unmap.getLong(IommuIoasUnmap.LENGTH);
    }

    @Test
    void structuresBeginWithTheirSize() {
        long request = UapiIommufd.IOMMU_IOAS_ALLOC;
        assertErrno(Errno.EFAULT, vfio.ioctl(iommufd, request, 0));
        assertErrno(
                Errno.EINVAL, vfio.ioctl(iommufd, request, Buffers.allocate(16).putInt(0, 11)));
        ByteBuffer withFlags = Buffers.allocate(16).putInt(0, 12).putInt(4, 1);
        assertErrno(Errno.EOPNOTSUPP, vfio.ioctl(iommufd, request, withFlags));
        assertThatThrownBy(
                        () -> vfio.ioctl(iommufd, request, Buffers.allocate(16).putInt(0, 16)))
                .hasMessage("the fake kernel does not model a structure of 16 bytes, of which it knows 12");
        long ofAnotherType = request ^ 1 << 8;
        assertErrno(
                Errno.ENOTTY,
                vfio.ioctl(iommufd, ofAnotherType, Buffers.allocate(16).putInt(0, 16)));
        assertErrno(Errno.ENOTTY, vfio.ioctl(iommufd, UapiIommufd.IOMMU_HW_QUEUE_ALLOC + 1, 0));
        assertThatThrownBy(() -> vfio.ioctl(iommufd, UapiIommufd.IOMMU_HWPT_ALLOC, Buffers.allocate(48)))
                .hasMessage("the fake kernel does not model IOMMU_HWPT_ALLOC");
    }

    @Test
    void numbersOfObjectsAreTheLowestFree() {
        assertThat(files.space(iommufd)).isEqualTo(1);
        assertThat(files.space(iommufd)).isEqualTo(2);
        assertOk(files.destroy(iommufd, 1));
        assertErrno(Errno.ENOENT, files.destroy(iommufd, 1));
        assertThat(files.space(iommufd)).isEqualTo(1);
    }

    @Test
    void mappingIsCheckedInOrder() {
        int space = files.space(iommufd);
        assertErrno(Errno.EOPNOTSUPP, map(space, 8 | FIXED, -1, memory, 0));
        assertErrno(Errno.EOVERFLOW, map(space, FIXED, -1, memory, 0));
        assertErrno(Errno.EINVAL, map(99, FIXED, 0, memory, PAGE)); // neither READ nor WRITE
        assertErrno(Errno.ENOENT, map(99, FIXED | READ, 0, memory, 0));
        assertErrno(Errno.EINVAL, map(space, FIXED | READ, 0, memory, 0));
        assertErrno(Errno.EINVAL, map(space, FIXED | READ, 0, memory, -2)); // beyond all memory
        assertErrno(Errno.EOVERFLOW, map(space, FIXED | READ, -PAGE, memory, 2 * PAGE));
        assertThat(map(space, FIXED | READ, PAGE, memory, PAGE)).isZero();
        assertErrno(Errno.EEXIST, map(space, FIXED | READ, 0, memory, PAGE + 1));
        assertThat(map(space, FIXED | READ, 0, 0, 100))
                .as("no device: nothing is pinned")
                .isZero();
        assertThatThrownBy(() -> map(space, READ, 0, memory, PAGE)).hasMessageContaining("FIXED_IOVA");
    }

    /** The memory is looked at when a device is attached; one that writes needs memory that may be written. */
    @Test
    void memoryMustAllowWhatTheDeviceMayDo() {
        vfio.fake().pciDevice(NAME, 1).add();
        int device = vfio.open("/dev/vfio/devices/vfio0");
        assertThat(files.bind(device, iommufd)).isPositive();
        int space = files.space(iommufd);
        long constant = vfio.world.map(PAGE, Uapi.PROT_READ, -1);
        int write = FIXED | READ | UapiIommufd.IOMMU_IOAS_MAP_WRITEABLE;
        assertThat(map(space, write, 0, constant, PAGE)).isZero();
        assertErrno(Errno.EFAULT, files.attach(device, space));
        assertThat(unmap(space, 0, PAGE)).isEqualTo(PAGE);
        assertThat(map(space, FIXED | READ, 0, constant, PAGE)).isZero();
        assertThat(files.attach(device, space)).isPositive();
        assertErrno(Errno.EFAULT, map(space, write, PAGE, constant, PAGE));
    }

    @Test
    void unmapTakesWholeMappings() {
        int space = files.space(iommufd);
        for (int page : new int[] {1, 2, 4}) {
            assertThat(map(space, FIXED | READ, (long) page * PAGE, memory, PAGE))
                    .isZero();
        }
        assertErrno(Errno.ENOENT, unmap(99, 0, 0));
        assertErrno(Errno.EOVERFLOW, unmap(space, -1, PAGE));
        assertErrno(Errno.EINVAL, unmap(space, PAGE, 0));
        assertErrno(Errno.EOVERFLOW, unmap(space, -PAGE, 2 * PAGE));
        assertErrno(Errno.ENOENT, unmap(space, 8 * PAGE, PAGE)); // nothing there
        assertErrno(Errno.ENOENT, unmap(space, PAGE, PAGE / 2)); // a part
        assertThat(unmap(space, 0, 3 * PAGE)).isEqualTo(2 * PAGE);
        assertThatThrownBy(() -> unmap(space, 0, -1)).hasMessageContaining("IOMMU_IOAS_UNMAP of all mappings");
    }

    @Test
    void allAddressesAreFreeBeforeADeviceIsAttached() {
        int space = files.space(iommufd);
        ByteBuffer range = Buffers.allocate(16);
        ByteBuffer ranges = Structs.of("iommu_ioas_iova_ranges", IommuIoasIovaRanges.SIZE, space);
        assertErrno(Errno.EMSGSIZE, vfio.ioctl(iommufd, UapiIommufd.IOMMU_IOAS_IOVA_RANGES, ranges));
        assertThat(ranges.getInt(IommuIoasIovaRanges.NUM_IOVAS)).isEqualTo(1);
        ranges.putLong(IommuIoasIovaRanges.ALLOWED_IOVAS, vfio.fake().libc().addressOf(range));
        assertThat(vfio.ioctl(iommufd, UapiIommufd.IOMMU_IOAS_IOVA_RANGES, ranges))
                .isZero();
        assertThat(range.getLong(0)).isZero();
        assertThat(range.getLong(8)).isEqualTo(-1);
    }

    @Test
    void iommufdIsNoContainerOfTheFake() {
        vfio.fake().pciDevice(NAME, 1).add();
        int group = vfio.open("/dev/vfio/1");
        assertThatThrownBy(() -> vfio.setContainer(group, iommufd)).hasMessageContaining("VFIO_GROUP_SET_CONTAINER");
        assertThatThrownBy(() -> vfio.mapDma(iommufd, memory, 0, PAGE)).hasMessageContaining("VFIO_IOMMU_MAP_DMA");
        assertThatThrownBy(() -> vfio.ioctl(iommufd, UapiIommufd.IOMMU_VFIO_IOAS, Buffers.allocate(16)))
                .isInstanceOf(NotModelledException.class)
                .hasMessageContaining("IOMMU_VFIO_IOAS");
    }

    @Test
    void mappingThatTheIommuReservesKeepsTheDeviceOut() {
        vfio.fake().pciDevice(NAME, 1).add();
        int device = vfio.open("/dev/vfio/devices/vfio0");
        int space = files.space(iommufd);
        assertThat(files.bind(device, iommufd)).isPositive();
        assertThat(map(space, FIXED | READ, 0xfee00000L, memory, PAGE))
                .as("no device yet")
                .isZero();
        assertThat(files.attach(device, space)).isEqualTo(-98);
        assertThat(unmap(space, 0xfee00000L, PAGE)).isEqualTo(PAGE);
        assertThat(map(space, FIXED | READ, 0, 0, PAGE))
                .as("memory that does not exist")
                .isZero();
        assertErrno(Errno.EFAULT, files.attach(device, space));
        assertThat(unmap(space, 0, PAGE)).isEqualTo(PAGE);
        assertThat(files.attach(device, space)).isPositive();
    }
}
