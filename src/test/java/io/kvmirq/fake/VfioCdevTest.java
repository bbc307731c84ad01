/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.VfioUser.MASTER;
import static io.kvmirq.fake.VfioUser.MSIX;
import static io.kvmirq.fake.VfioUser.NAME;
import static io.kvmirq.fake.VfioUser.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.UapiIommufd;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceAttachIommufdPt;
import io.kvmirq.uapi.UapiVfio.VfioDeviceBindIommufd;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import io.kvmirq.uapi.UapiVfio.VfioPciDependentDevice;
import io.kvmirq.uapi.UapiVfio.VfioPciHotReset;
import io.kvmirq.uapi.UapiVfio.VfioPciHotResetInfo;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Files of VFIO devices that are bound to an iommufd. */
class VfioCdevTest {
    private static final String CDEV = "/dev/vfio/devices/vfio0";

    private final List<VfioUser> users = new ArrayList<>();

    @AfterEach
    void explain() {
        users.forEach(VfioUser::close);
    }

    private VfioUser user(String profile) {
        VfioUser user = new VfioUser(profile);
        users.add(user);
        return user;
    }

    private static ByteBuffer bind(int argsz, int flags, int iommufd) {
        return Buffers.allocate(32)
                .putInt(VfioDeviceBindIommufd.ARGSZ, argsz)
                .putInt(VfioDeviceBindIommufd.FLAGS, flags)
                .putInt(VfioDeviceBindIommufd.IOMMUFD, iommufd);
    }

    /** Returns the number of the device, or a negative errno. */
    private static int bind(VfioUser user, int device, int iommufd) {
        ByteBuffer bind = bind(16, 0, iommufd);
        int result = user.ioctl(device, UapiVfio.VFIO_DEVICE_BIND_IOMMUFD, bind);
        return result < 0 ? result : bind.getInt(VfioDeviceBindIommufd.OUT_DEVID);
    }

    /** Returns the number of the page table, or a negative errno. */
    private static int attach(VfioUser user, int device, int to) {
        ByteBuffer attach = Buffers.allocate(12)
                .putInt(VfioDeviceAttachIommufdPt.ARGSZ, 12)
                .putInt(VfioDeviceAttachIommufdPt.PT_ID, to);
        int result = user.ioctl(device, UapiVfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach);
        return result < 0 ? result : attach.getInt(VfioDeviceAttachIommufdPt.PT_ID);
    }

    private static int detach(VfioUser user, int device) {
        return user.ioctl(
                device,
                UapiVfio.VFIO_DEVICE_DETACH_IOMMUFD_PT,
                Buffers.allocate(8).putInt(0, 8));
    }

    private static int info(VfioUser user, int device) {
        return user.ioctl(
                device,
                UapiVfio.VFIO_DEVICE_GET_INFO,
                Buffers.allocate(VfioDeviceInfo.SIZE).putInt(0, 24));
    }

    private static int destroy(VfioUser user, int iommufd, int object) {
        return user.ioctl(
                iommufd,
                UapiIommufd.IOMMU_DESTROY,
                Buffers.allocate(8).putInt(0, 8).putInt(4, object));
    }

    @Test
    void onlyKernelsWithTheSwitchHaveTheFiles() {
        VfioUser debian = user("7.1");
        debian.kernel.pciDevice(NAME, 1).add();
        assertThat(debian.open("/dev/iommu")).isEqualTo(refused(Errno.ENOENT));
        assertThat(debian.open(CDEV)).isEqualTo(refused(Errno.ENOENT));
        VfioUser user = user("7.1,cdev");
        assertThat(user.open("/dev/iommu")).isPositive();
        assertThat(user.open(CDEV)).as("no device").isEqualTo(refused(Errno.ENOENT));
        user.kernel.pciDevice(NAME, 1).add();
        user.kernel.pciDevice("0000:00:03.0", 2).add();
        assertThat(user.open(CDEV)).isPositive();
        assertThat(user.open("/dev/vfio/devices/vfio1")).isPositive();
        assertThat(user.open("/dev/vfio/devices/vfio2")).isEqualTo(refused(Errno.ENOENT));
        assertThat(user.open("/dev/vfio/1")).isPositive();
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Profile.of("6.1,cdev"))
                .withMessageContaining("before 6.6");
    }

    /** As "cdevprobe" in the lab, with the same numbers. */
    @ParameterizedTest
    @ValueSource(strings = {"6.12,cdev", "7.1,cdev", "7.1,arm64,cdev"})
    void deviceAnswersFromBindOn(String profile) {
        VfioUser user = user(profile);
        FakePciDevice hardware = user.kernel.pciDevice(NAME, 1).msix(2).add();
        int device = user.open(CDEV);
        int iommufd = user.open("/dev/iommu");
        assertThat(info(user, device)).isEqualTo(refused(Errno.EINVAL));
        assertThat(user.ioctl(device, 0x1234, 0)).as("unknown").isEqualTo(refused(Errno.EINVAL));
        assertThat(attach(user, device, 1)).isEqualTo(refused(Errno.EINVAL));
        ByteBuffer word = Buffers.allocate(4);
        assertThat(user.kernel.pread(device, user.kernel.addressOf(word), 4, VfioUser.COMMAND))
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(bind(user, device, iommufd)).isEqualTo(1);
        int space = VfioIommufdTest.alloc(user, iommufd);
        assertThat(space).isEqualTo(2);
        assertThat(attach(user, device, space)).isEqualTo(3);
        assertThat(info(user, device)).isZero();
        int event = user.event();
        assertThat(user.arm(device, MSIX, 0, event)).isZero();
        user.writeCommand(device, MASTER);
        assertThat(hardware.sendMessage(0)).isTrue();
        assertThat(user.take(event)).isEqualTo(1);
        user.kernel.close(device);
        assertThat(hardware.sendMessage(0)).as("closed").isFalse();
        assertThat(destroy(user, iommufd, 3)).as("gone with the device").isEqualTo(refused(Errno.ENOENT));
        assertThat(destroy(user, iommufd, space)).isZero();
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.12,cdev", "7.1,cdev"})
    void bindIsCheckedInOrder(String profile) {
        boolean tokens = profile.startsWith("7.1");
        VfioUser user = user(profile);
        user.kernel.pciDevice(NAME, 1).add();
        user.kernel.pciDevice("0000:00:03.0", 1).add();
        int device = user.open(CDEV);
        int iommufd = user.open("/dev/iommu");
        long request = UapiVfio.VFIO_DEVICE_BIND_IOMMUFD;
        assertThat(user.ioctl(device, request, 0)).isEqualTo(refused(Errno.EFAULT));
        assertThat(user.ioctl(device, request, bind(15, 0, iommufd))).isEqualTo(refused(Errno.EINVAL));
        assertThat(user.ioctl(device, request, bind(16, 2, iommufd))).isEqualTo(refused(Errno.EINVAL));
        assertThat(user.ioctl(device, request, bind(16, 0, -1))).isEqualTo(refused(Errno.EINVAL));
        int group = user.open("/dev/vfio/1");
        int ofGroup = user.deviceOf(group, NAME);
        assertThat(bind(user, ofGroup, 999)).as("of a group, and not open").isEqualTo(refused(Errno.EINVAL));
        assertThat(user.ioctl(ofGroup, UapiVfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT, 0))
                .isEqualTo(refused(Errno.ENOTTY));
        assertThat(bind(user, device, 999)).as("group open, and no iommufd").isEqualTo(refused(Errno.EBUSY));
        user.kernel.close(ofGroup);
        user.kernel.close(group);
        assertThat(bind(user, device, 999)).isEqualTo(refused(Errno.EBADF));
        assertThat(bind(user, device, user.event())).isEqualTo(refused(Errno.EBADFD));
        assertThat(user.ioctl(device, request, bind(24, 1, 999)))
                .as("a token, which is read before the iommufd")
                .isEqualTo(refused(tokens ? Errno.EFAULT : Errno.EINVAL));
        assertThat(user.ioctl(device, request, bind(32, 0, 999).putLong(24, 1)))
                .as("bytes that are not known")
                .isEqualTo(refused(tokens ? Errno.E2BIG : Errno.EBADF));
        assertThat(bind(user, device, iommufd)).isPositive();
        assertThat(bind(user, device, 999)).as("bound already").isEqualTo(refused(Errno.EINVAL));
        int second = user.open(CDEV);
        assertThat(bind(user, second, 999)).as("no iommufd first").isEqualTo(refused(Errno.EBADF));
        assertThat(bind(user, second, iommufd)).as("open through another file").isEqualTo(refused(Errno.EINVAL));
        int other = user.open("/dev/vfio/devices/vfio1");
        assertThat(bind(user, other, user.open("/dev/iommu")))
                .as("another iommufd owns the group")
                .isEqualTo(refused(Errno.EPERM));
        assertThat(bind(user, other, iommufd)).isPositive();
    }

    @Test
    void groupAndOwnFileExcludeEachOther() {
        VfioUser user = user("7.1,cdev");
        user.kernel.pciDevice(NAME, 1).add();
        user.kernel.pciDevice("0000:00:03.0", 2).add();
        user.kernel.pciDevice("0000:00:03.1", 2).addToHost();
        int device = user.open(CDEV);
        int iommufd = user.open("/dev/iommu");
        int group = user.open("/dev/vfio/1");
        assertThat(group).as("an own file that is not bound does not matter").isPositive();
        user.kernel.close(group);
        assertThat(bind(user, device, iommufd)).isPositive();
        assertThat(user.open("/dev/vfio/1")).isEqualTo(refused(Errno.EBUSY));
        user.kernel.close(device);
        assertThat(user.open("/dev/vfio/1")).isPositive();
        assertThat(bind(user, user.open("/dev/vfio/devices/vfio1"), iommufd))
                .as("not viable")
                .isEqualTo(refused(Errno.EPERM));
    }

    @Test
    void attachMovesTheGroup() {
        VfioUser user = user("7.1,cdev");
        user.kernel.pciDevice(NAME, 1).add();
        user.kernel.pciDevice("0000:00:03.0", 1).add();
        int device = user.open(CDEV);
        int other = user.open("/dev/vfio/devices/vfio1");
        int iommufd = user.open("/dev/iommu");
        int id = bind(user, device, iommufd);
        assertThat(bind(user, other, iommufd)).isPositive();
        int first = VfioIommufdTest.alloc(user, iommufd);
        int second = VfioIommufdTest.alloc(user, iommufd);
        long request = UapiVfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT;
        assertThat(user.ioctl(device, request, 0)).isEqualTo(refused(Errno.EFAULT));
        assertThat(user.ioctl(device, request, Buffers.allocate(12).putInt(0, 11)))
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(user.ioctl(
                        device, request, Buffers.allocate(12).putInt(0, 12).putInt(4, 2)))
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(attach(user, device, 99)).isEqualTo(refused(Errno.ENOENT));
        assertThat(attach(user, device, id)).as("a device").isEqualTo(refused(Errno.EINVAL));
        assertThat(detach(user, device)).as("not attached").isZero();
        int table = attach(user, device, first);
        assertThat(table).isPositive();
        assertThat(attach(user, device, first)).as("again").isEqualTo(table);
        assertThat(attach(user, other, second))
                .as("its group is attached elsewhere")
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(attach(user, other, table)).as("a page table").isEqualTo(table);
        assertThat(destroy(user, iommufd, first)).isEqualTo(refused(Errno.EBUSY));
        assertThat(destroy(user, iommufd, table)).isEqualTo(refused(Errno.EBUSY));
        assertThat(destroy(user, iommufd, id)).isEqualTo(refused(Errno.EBUSY));
        int moved = attach(user, device, second);
        assertThat(moved).isPositive().isNotEqualTo(table);
        assertThat(destroy(user, iommufd, first)).as("the whole group moved").isZero();
        assertThat(attach(user, other, moved)).isEqualTo(moved);
        assertThat(detach(user, device)).isZero();
        assertThat(destroy(user, iommufd, moved)).isEqualTo(refused(Errno.EBUSY));
        assertThat(detach(user, other)).isZero();
        assertThat(destroy(user, iommufd, moved)).isEqualTo(refused(Errno.ENOENT));
        assertThatThrownBy(() -> user.ioctl(
                        device, request, Buffers.allocate(16).putInt(0, 16).putInt(4, 1)))
                .hasMessageContaining("VFIO_DEVICE_ATTACH_IOMMUFD_PT with a PASID");
    }

    @Test
    void boundDeviceHoldsTheIommufd() {
        VfioUser user = user("7.1,cdev");
        user.kernel.pciDevice(NAME, 1).add();
        int device = user.open(CDEV);
        int iommufd = user.open("/dev/iommu");
        assertThat(bind(user, device, iommufd)).isPositive();
        int space = VfioIommufdTest.alloc(user, iommufd);
        user.kernel.close(iommufd);
        assertThat(attach(user, device, space)).isPositive();
        user.kernel.close(device);
        assertThat(user.open("/dev/vfio/1")).isPositive();
    }

    @Test
    void hotResetGoesByTheIommufd() {
        VfioUser user = user("7.1,cdev");
        user.kernel.pciDevice("0000:3b:00.0", 5).add();
        user.kernel.pciDevice("0000:3b:00.1", 5).add();
        user.kernel.pciDevice("0000:3b:00.2", 6).add();
        int device = user.open(CDEV);
        int iommufd = user.open("/dev/iommu");
        int id = bind(user, device, iommufd);
        assertThat(hotReset(user, device, 1)).as("no groups").isEqualTo(refused(Errno.EINVAL));
        assertThat(hotReset(user, device, 0)).as("one is not owned").isEqualTo(refused(Errno.EINVAL));
        ByteBuffer info = Buffers.allocate(36).putInt(0, 36);
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info))
                .isZero();
        assertThat(info.getInt(VfioPciHotResetInfo.FLAGS)).isEqualTo(UapiVfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID);
        assertThat(ids(info)).containsExactly(id, 0, -1);
        int third = bind(user, user.open("/dev/vfio/devices/vfio2"), iommufd);
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info))
                .isZero();
        assertThat(info.getInt(VfioPciHotResetInfo.FLAGS))
                .isEqualTo(UapiVfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID | UapiVfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED);
        assertThat(ids(info)).containsExactly(id, 0, third);
        assertThat(hotReset(user, device, 0)).isZero();
    }

    private static int hotReset(VfioUser user, int device, int count) {
        ByteBuffer reset = Buffers.allocate(16).putInt(0, 16).putInt(VfioPciHotReset.COUNT, count);
        return user.ioctl(device, UapiVfio.VFIO_DEVICE_PCI_HOT_RESET, reset);
    }

    private static List<Integer> ids(ByteBuffer info) {
        List<Integer> ids = new ArrayList<>();
        for (int i = 0; i < info.getInt(VfioPciHotResetInfo.COUNT); i++) {
            ids.add(info.getInt(VfioPciHotResetInfo.SIZE + i * VfioPciDependentDevice.SIZE));
        }
        return ids;
    }
}
