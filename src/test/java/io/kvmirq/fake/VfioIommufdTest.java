/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.contract.VfioDevice;
import io.kvmirq.contract.VfioFiles;
import io.kvmirq.contract.VfioWorld;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiIommufd;
import io.kvmirq.uapi.UapiIommufd.IommuIoasIovaRanges;
import io.kvmirq.uapi.UapiIommufd.IommuIoasMap;
import io.kvmirq.uapi.UapiIommufd.IommuIoasUnmap;
import io.kvmirq.uapi.UapiIommufd.IommuVfioIoas;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaUnmap;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;

/** An iommufd: its objects, its mappings, and what it answers in the place of a container. */
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
        assertErrno(
                Errno.E2BIG,
                vfio.ioctl(iommufd, request, Buffers.allocate(16).putInt(0, 16).putInt(12, 1)));
        ByteBuffer beyondMemory = Buffers.allocate(16).putInt(0, 1 << 20);
        assertErrno(Errno.EFAULT, vfio.ioctl(iommufd, request, beyondMemory));
        ByteBuffer withFlags = Buffers.allocate(16).putInt(0, 12).putInt(4, 1);
        assertErrno(Errno.EOPNOTSUPP, vfio.ioctl(iommufd, request, withFlags));
        assertThat(vfio.ioctl(iommufd, request, Buffers.allocate(16).putInt(0, 16)))
                .as("longer, but zeros")
                .isZero();
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
        int group = vfio.open("/dev/vfio/1");
        assertThat(vfio.setContainer(group, iommufd)).isZero();
        long constant = vfio.world.map(PAGE, Uapi.PROT_READ, -1);
        assertThat(map(1, FIXED | READ | UapiIommufd.IOMMU_IOAS_MAP_WRITEABLE, 0, constant, PAGE))
                .isZero();
        assertErrno(Errno.EFAULT, vfio.deviceFd(group, NAME));
        assertThat(unmap(1, 0, PAGE)).isEqualTo(PAGE);
        assertThat(map(1, FIXED | READ, 0, constant, PAGE)).isZero();
        assertThat(vfio.deviceFd(group, NAME)).isPositive();
        assertErrno(Errno.EFAULT, vfio.mapDma(iommufd, constant, PAGE, PAGE));
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
        assertThat(unmap(space, 0, -1)).as("all").isEqualTo(PAGE);
        assertThat(unmap(space, 0, -1)).as("none is left").isZero();
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

    private int setCompatible(int operation, int space) {
        ByteBuffer structure = Structs.of("iommu_vfio_ioas", IommuVfioIoas.SIZE, space, operation);
        return vfio.ioctl(iommufd, UapiIommufd.IOMMU_VFIO_IOAS, structure);
    }

    @Test
    void iommufdIsAContainerFromItsFirstGroupOn() {
        FakePciDevice hardware = vfio.fake().pciDevice(NAME, 1).msix(1).add();
        assertThat(vfio.ioctl(iommufd, UapiVfio.VFIO_GET_API_VERSION, 0)).isZero();
        assertThat(vfio.ioctl(iommufd, UapiVfio.VFIO_CHECK_EXTENSION, 3)).isEqualTo(1);
        assertThat(vfio.ioctl(iommufd, UapiVfio.VFIO_CHECK_EXTENSION, 10))
                .as("UPDATE_VADDR")
                .isZero();
        assertErrno(Errno.EINVAL, vfio.setIommu(iommufd, 99));
        assertErrno(Errno.ENODEV, vfio.setIommu(iommufd, 3));
        assertErrno(Errno.ENODEV, vfio.mapDma(iommufd, memory, 0, PAGE));
        assertErrno(Errno.ENOTTY, vfio.ioctl(iommufd, UapiVfio.VFIO_IOMMU_DIRTY_PAGES, 0));
        assertErrno(Errno.ENODEV, setCompatible(UapiIommufd.IOMMU_VFIO_IOAS_GET, 0));
        int group = vfio.open("/dev/vfio/1");
        assertThat(vfio.setContainer(group, iommufd)).isZero();
        assertErrno(Errno.EINVAL, vfio.setContainer(group, iommufd));
        assertThat(setCompatible(UapiIommufd.IOMMU_VFIO_IOAS_GET, 0)).isZero();
        assertThat(vfio.setIommu(iommufd, 3)).isZero();
        assertThat(vfio.mapDma(iommufd, memory, 0, PAGE)).isZero();
        assertErrno(Errno.EEXIST, vfio.mapDma(iommufd, memory, 0, PAGE));
        assertThat(setCompatible(UapiIommufd.IOMMU_VFIO_IOAS_CLEAR, 0)).isZero();
        assertErrno(Errno.ENODEV, vfio.deviceFd(group, NAME)); // no address space
        assertErrno(Errno.ENOENT, setCompatible(UapiIommufd.IOMMU_VFIO_IOAS_SET, 99));
        assertThat(setCompatible(UapiIommufd.IOMMU_VFIO_IOAS_SET, 1)).isZero();
        int device = vfio.deviceFd(group, NAME);
        assertThat(device).isPositive();
        assertOk(vfio.bound(hardware, device, iommufd).arm(VfioDevice.MSIX, 0, vfio.world.eventfd()));
        assertErrno(Errno.EINVAL, vfio.mapDma(iommufd, memory, 0xfee00000L, PAGE)); // messages
        assertErrno(Errno.EFAULT, vfio.mapDma(iommufd, 0, 0x100000, PAGE)); // and memory is pinned
        assertThat(vfio.unmapDma(iommufd, 0, 0, PAGE)).isEqualTo(PAGE);
        assertThat(vfio.unmapDma(iommufd, 0, 0, PAGE))
                .as("nothing is left, which is no error here")
                .isZero();
        for (int page : new int[] {1, 2}) {
            assertThat(vfio.mapDma(iommufd, memory, (long) page * PAGE, PAGE)).isZero();
        }
        ByteBuffer half =
                Structs.of("vfio_iommu_type1_dma_unmap", VfioIommuType1DmaUnmap.SIZE, 0, PAGE, PAGE + PAGE / 2);
        assertErrno(Errno.ENOENT, vfio.ioctl(iommufd, UapiVfio.VFIO_IOMMU_UNMAP_DMA, half));
        assertThat(half.getLong(VfioIommuType1DmaUnmap.LENGTH))
                .as("what was unmapped before")
                .isEqualTo(PAGE);
        vfio.fake().libc().close(iommufd);
        vfio.fake().libc().close(group);
        assertErrno(Errno.EBUSY, vfio.open("/dev/vfio/1")); // the device holds both
        vfio.fake().libc().close(device);
        assertThat(vfio.open("/dev/vfio/1")).isPositive();
    }

    @Test
    void mappingThatTheIommuReservesKeepsTheDeviceOut() {
        vfio.fake().pciDevice(NAME, 1).add();
        int group = vfio.open("/dev/vfio/1");
        assertThat(vfio.setContainer(group, iommufd)).isZero();
        assertThat(map(1, FIXED | READ, 0xfee00000L, memory, PAGE))
                .as("no device yet")
                .isZero();
        assertThat(vfio.deviceFd(group, NAME)).isEqualTo(-98);
        assertThat(unmap(1, 0xfee00000L, PAGE)).isEqualTo(PAGE);
        assertThat(map(1, FIXED | READ, 0, 0, PAGE))
                .as("memory that does not exist")
                .isZero();
        assertErrno(Errno.EFAULT, vfio.deviceFd(group, NAME));
        assertThat(unmap(1, 0, PAGE)).isEqualTo(PAGE);
        assertThat(vfio.deviceFd(group, NAME)).isPositive();
    }
}
