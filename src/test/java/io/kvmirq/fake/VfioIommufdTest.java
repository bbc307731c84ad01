/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.VfioUser.NAME;
import static io.kvmirq.fake.VfioUser.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.UapiIommufd;
import io.kvmirq.uapi.UapiIommufd.IommuIoasAlloc;
import io.kvmirq.uapi.UapiIommufd.IommuIoasIovaRanges;
import io.kvmirq.uapi.UapiIommufd.IommuIoasMap;
import io.kvmirq.uapi.UapiIommufd.IommuIoasUnmap;
import io.kvmirq.uapi.UapiIommufd.IommuVfioIoas;
import io.kvmirq.uapi.UapiVfio;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** An iommufd: its objects, its mappings, and what it answers in the place of a container. */
class VfioIommufdTest {
    private static final int FIXED = UapiIommufd.IOMMU_IOAS_MAP_FIXED_IOVA;
    private static final int READ = UapiIommufd.IOMMU_IOAS_MAP_READABLE;
    private static final int PAGE = 4096;

    private final VfioUser user = new VfioUser("7.1,cdev");
    private final int iommufd = user.open("/dev/iommu");
    private final long memory = user.kernel.mmap(4 * PAGE, 3, 0x22, -1, 0);

    @AfterEach
    void explain() {
        user.close();
    }

    /** Makes an address space. Returns its number. */
    static int alloc(VfioUser user, int iommufd) {
        ByteBuffer alloc = Buffers.allocate(IommuIoasAlloc.SIZE).putInt(0, IommuIoasAlloc.SIZE);
        assertThat(user.ioctl(iommufd, UapiIommufd.IOMMU_IOAS_ALLOC, alloc)).isZero();
        return alloc.getInt(IommuIoasAlloc.OUT_IOAS_ID);
    }

    private int map(int space, int flags, long iova, long vaddr, long length) {
        return user.ioctl(
                iommufd,
                UapiIommufd.IOMMU_IOAS_MAP,
                Buffers.allocate(IommuIoasMap.SIZE)
                        .putInt(0, IommuIoasMap.SIZE)
                        .putInt(IommuIoasMap.FLAGS, flags)
                        .putInt(IommuIoasMap.IOAS_ID, space)
                        .putLong(IommuIoasMap.USER_VA, vaddr)
                        .putLong(IommuIoasMap.LENGTH, length)
                        .putLong(IommuIoasMap.IOVA, iova));
    }

    /** Returns how much was unmapped, or a negative errno. */
    private long unmap(int space, long iova, long length) {
        ByteBuffer unmap = Buffers.allocate(IommuIoasUnmap.SIZE)
                .putInt(0, IommuIoasUnmap.SIZE)
                .putInt(IommuIoasUnmap.IOAS_ID, space)
                .putLong(IommuIoasUnmap.IOVA, iova)
                .putLong(IommuIoasUnmap.LENGTH, length);
        int result = user.ioctl(iommufd, UapiIommufd.IOMMU_IOAS_UNMAP, unmap);
        return result < 0 ? result : unmap.getLong(IommuIoasUnmap.LENGTH);
    }

    @Test
    void structuresBeginWithTheirSize() {
        long request = UapiIommufd.IOMMU_IOAS_ALLOC;
        assertThat(user.ioctl(iommufd, request, 0)).isEqualTo(refused(Errno.EFAULT));
        assertThat(user.ioctl(iommufd, request, Buffers.allocate(16).putInt(0, 11)))
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(user.ioctl(
                        iommufd, request, Buffers.allocate(16).putInt(0, 16).putInt(12, 1)))
                .isEqualTo(refused(Errno.E2BIG));
        assertThat(user.ioctl(iommufd, request, Buffers.allocate(16).putInt(0, 1 << 20)))
                .as("beyond memory")
                .isEqualTo(refused(Errno.EFAULT));
        assertThat(user.ioctl(
                        iommufd, request, Buffers.allocate(16).putInt(0, 12).putInt(4, 1)))
                .as("flags")
                .isEqualTo(refused(Errno.EOPNOTSUPP));
        assertThat(user.ioctl(iommufd, request, Buffers.allocate(16).putInt(0, 16)))
                .as("longer, but zeros")
                .isZero();
        assertThat(user.ioctl(iommufd, request ^ 1 << 8, Buffers.allocate(16).putInt(0, 16)))
                .as("of another type")
                .isEqualTo(refused(Errno.ENOTTY));
        assertThat(user.ioctl(iommufd, UapiIommufd.IOMMU_HW_QUEUE_ALLOC + 1, 0)).isEqualTo(refused(Errno.ENOTTY));
        assertThatThrownBy(() -> user.ioctl(iommufd, UapiIommufd.IOMMU_HWPT_ALLOC, Buffers.allocate(48)))
                .hasMessage("the fake kernel does not model IOMMU_HWPT_ALLOC");
    }

    @Test
    void numbersOfObjectsAreTheLowestFree() {
        assertThat(alloc(user, iommufd)).isEqualTo(1);
        assertThat(alloc(user, iommufd)).isEqualTo(2);
        ByteBuffer destroy = Buffers.allocate(8).putInt(0, 8).putInt(4, 1);
        assertThat(user.ioctl(iommufd, UapiIommufd.IOMMU_DESTROY, destroy)).isZero();
        assertThat(user.ioctl(iommufd, UapiIommufd.IOMMU_DESTROY, destroy)).isEqualTo(refused(Errno.ENOENT));
        assertThat(alloc(user, iommufd)).isEqualTo(1);
    }

    @Test
    void mappingIsCheckedInOrder() {
        int space = alloc(user, iommufd);
        assertThat(map(space, 8 | FIXED, -1, memory, 0)).isEqualTo(refused(Errno.EOPNOTSUPP));
        assertThat(map(space, FIXED, -1, memory, 0)).isEqualTo(refused(Errno.EOVERFLOW));
        assertThat(map(99, FIXED, 0, memory, PAGE)).as("neither READ nor WRITE").isEqualTo(refused(Errno.EINVAL));
        assertThat(map(99, FIXED | READ, 0, memory, 0)).isEqualTo(refused(Errno.ENOENT));
        assertThat(map(space, FIXED | READ, 0, memory, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(map(space, FIXED | READ, 0, memory, -2))
                .as("beyond all memory")
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(map(space, FIXED | READ, -PAGE, memory, 2 * PAGE)).isEqualTo(refused(Errno.EOVERFLOW));
        assertThat(map(space, FIXED | READ, PAGE, memory, PAGE)).isZero();
        assertThat(map(space, FIXED | READ, 0, memory, PAGE + 1)).isEqualTo(refused(Errno.EEXIST));
        assertThat(map(space, FIXED | READ, 0, 0, 100))
                .as("no device: nothing is pinned")
                .isZero();
        assertThatThrownBy(() -> map(space, READ, 0, memory, PAGE)).hasMessageContaining("FIXED_IOVA");
    }

    @Test
    void unmapTakesWholeMappings() {
        int space = alloc(user, iommufd);
        for (int page : new int[] {1, 2, 4}) {
            assertThat(map(space, FIXED | READ, (long) page * PAGE, memory, PAGE))
                    .isZero();
        }
        assertThat(unmap(99, 0, 0)).isEqualTo(refused(Errno.ENOENT));
        assertThat(unmap(space, -1, PAGE)).isEqualTo(refused(Errno.EOVERFLOW));
        assertThat(unmap(space, PAGE, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(unmap(space, -PAGE, 2 * PAGE)).isEqualTo(refused(Errno.EOVERFLOW));
        assertThat(unmap(space, 8 * PAGE, PAGE)).as("nothing there").isEqualTo(refused(Errno.ENOENT));
        assertThat(unmap(space, PAGE, PAGE / 2)).as("a part").isEqualTo(refused(Errno.ENOENT));
        assertThat(unmap(space, 0, 3 * PAGE)).isEqualTo(2 * PAGE);
        assertThat(unmap(space, 0, -1)).as("all").isEqualTo(PAGE);
        assertThat(unmap(space, 0, -1)).as("none is left").isZero();
    }

    @Test
    void allAddressesAreFreeBeforeADeviceIsAttached() {
        int space = alloc(user, iommufd);
        ByteBuffer range = Buffers.allocate(16);
        ByteBuffer ranges = Buffers.allocate(IommuIoasIovaRanges.SIZE)
                .putInt(0, IommuIoasIovaRanges.SIZE)
                .putInt(IommuIoasIovaRanges.IOAS_ID, space);
        assertThat(user.ioctl(iommufd, UapiIommufd.IOMMU_IOAS_IOVA_RANGES, ranges))
                .isEqualTo(refused(Errno.EMSGSIZE));
        assertThat(ranges.getInt(IommuIoasIovaRanges.NUM_IOVAS)).isEqualTo(1);
        ranges.putLong(IommuIoasIovaRanges.ALLOWED_IOVAS, user.kernel.addressOf(range));
        assertThat(user.ioctl(iommufd, UapiIommufd.IOMMU_IOAS_IOVA_RANGES, ranges))
                .isZero();
        assertThat(range.getLong(0)).isZero();
        assertThat(range.getLong(8)).isEqualTo(-1);
    }

    private int setCompatible(int operation, int space) {
        return user.ioctl(
                iommufd,
                UapiIommufd.IOMMU_VFIO_IOAS,
                Buffers.allocate(IommuVfioIoas.SIZE)
                        .putInt(0, IommuVfioIoas.SIZE)
                        .putInt(IommuVfioIoas.IOAS_ID, space)
                        .putShort(IommuVfioIoas.OP, (short) operation));
    }

    @Test
    void iommufdIsAContainerFromItsFirstGroupOn() {
        user.kernel.pciDevice(NAME, 1).msix(1).add();
        ByteBuffer map = VfioUser.map(32, 3, memory, 0, PAGE);
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_GET_API_VERSION, 0)).isZero();
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_CHECK_EXTENSION, 3)).isEqualTo(1);
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_CHECK_EXTENSION, 10))
                .as("UPDATE_VADDR")
                .isZero();
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_SET_IOMMU, 99)).isEqualTo(refused(Errno.EINVAL));
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_SET_IOMMU, 3)).isEqualTo(refused(Errno.ENODEV));
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_IOMMU_MAP_DMA, map)).isEqualTo(refused(Errno.ENODEV));
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_IOMMU_DIRTY_PAGES, 0)).isEqualTo(refused(Errno.ENOTTY));
        assertThat(setCompatible(UapiIommufd.IOMMU_VFIO_IOAS_GET, 0)).isEqualTo(refused(Errno.ENODEV));
        int group = user.open("/dev/vfio/1");
        assertThat(user.setContainer(group, iommufd)).isZero();
        assertThat(user.setContainer(group, iommufd)).isEqualTo(refused(Errno.EINVAL));
        assertThat(setCompatible(UapiIommufd.IOMMU_VFIO_IOAS_GET, 0)).isZero();
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_SET_IOMMU, 3)).isZero();
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_IOMMU_MAP_DMA, map)).isZero();
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_IOMMU_MAP_DMA, map)).isEqualTo(refused(Errno.EEXIST));
        assertThat(setCompatible(UapiIommufd.IOMMU_VFIO_IOAS_CLEAR, 0)).isZero();
        assertThat(user.deviceFd(group, NAME)).as("no address space").isEqualTo(refused(Errno.ENODEV));
        assertThat(setCompatible(UapiIommufd.IOMMU_VFIO_IOAS_SET, 99)).isEqualTo(refused(Errno.ENOENT));
        assertThat(setCompatible(UapiIommufd.IOMMU_VFIO_IOAS_SET, 1)).isZero();
        int device = user.deviceFd(group, NAME);
        assertThat(device).isPositive();
        assertThat(user.arm(device, VfioUser.MSIX, 0, user.event())).isZero();
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_IOMMU_MAP_DMA, VfioUser.map(32, 3, memory, 0xfee00000L, PAGE)))
                .as("a device is attached: messages are reserved")
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_IOMMU_MAP_DMA, VfioUser.map(32, 3, 0, 0x100000, PAGE)))
                .as("and memory is pinned")
                .isEqualTo(refused(Errno.EFAULT));
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_IOMMU_UNMAP_DMA, VfioUser.unmap(24, 0, 0, PAGE)))
                .isZero();
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_IOMMU_UNMAP_DMA, VfioUser.unmap(24, 0, 0, PAGE)))
                .as("nothing is left, which is no error here")
                .isZero();
        for (int page : new int[] {1, 2}) {
            assertThat(user.ioctl(
                            iommufd,
                            UapiVfio.VFIO_IOMMU_MAP_DMA,
                            VfioUser.map(32, 3, memory, (long) page * PAGE, PAGE)))
                    .isZero();
        }
        ByteBuffer half = VfioUser.unmap(24, 0, PAGE, PAGE + PAGE / 2);
        assertThat(user.ioctl(iommufd, UapiVfio.VFIO_IOMMU_UNMAP_DMA, half)).isEqualTo(refused(Errno.ENOENT));
        assertThat(half.getLong(16)).as("what was unmapped before").isEqualTo(PAGE);
        user.kernel.close(iommufd);
        user.kernel.close(group);
        assertThat(user.open("/dev/vfio/1")).as("the device holds both").isEqualTo(refused(Errno.EBUSY));
        user.kernel.close(device);
        assertThat(user.open("/dev/vfio/1")).isPositive();
    }

    @Test
    void mappingThatTheIommuReservesKeepsTheDeviceOut() {
        user.kernel.pciDevice(NAME, 1).add();
        int group = user.open("/dev/vfio/1");
        assertThat(user.setContainer(group, iommufd)).isZero();
        assertThat(map(1, FIXED | READ, 0xfee00000L, memory, PAGE))
                .as("no device yet")
                .isZero();
        assertThat(user.deviceFd(group, NAME)).isEqualTo(-98);
        assertThat(unmap(1, 0xfee00000L, PAGE)).isEqualTo(PAGE);
        assertThat(map(1, FIXED | READ, 0, 0, PAGE))
                .as("memory that does not exist")
                .isZero();
        assertThat(user.deviceFd(group, NAME)).isEqualTo(refused(Errno.EFAULT));
        assertThat(unmap(1, 0, PAGE)).isEqualTo(PAGE);
        assertThat(user.deviceFd(group, NAME)).isPositive();
    }
}
