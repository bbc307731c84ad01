/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.OpenedDevice.MASTER;
import static io.kvmirq.contract.OpenedDevice.MSIX;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.contract.OpenedDevice;
import io.kvmirq.contract.VfioFiles;
import io.kvmirq.contract.VfioWorld;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioPciDependentDevice;
import io.kvmirq.uapi.UapiVfio.VfioPciHotReset;
import io.kvmirq.uapi.UapiVfio.VfioPciHotResetInfo;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Files of VFIO devices that are bound to an iommufd. */
class VfioCdevTest {
    private static final String NAME = "0000:00:02.0";
    private static final String CDEV = "/dev/vfio/devices/vfio0";

    @AutoClose
    private final Undo made = new Undo();

    private VfioWorld fake(String profile) {
        return made.add(VfioWorld.ofFake(profile));
    }

    private VfioFiles files(String profile) {
        return new VfioFiles(fake(profile));
    }

    @Test
    void onlyKernelsWithTheSwitchHaveTheFiles() {
        VfioWorld debian = fake("7.1");
        debian.fake().pciDevice(NAME, 1).add();
        assertErrno(Errno.ENOENT, debian.open("/dev/iommu"));
        assertErrno(Errno.ENOENT, debian.open(CDEV));
        VfioFiles files = files("7.1,cdev");
        VfioWorld vfio = files.vfio();
        assertThat(vfio.open("/dev/iommu")).isPositive();
        assertErrno(Errno.ENOENT, vfio.open(CDEV)); // no device
        vfio.fake().pciDevice(NAME, 1).add();
        vfio.fake().pciDevice("0000:00:03.0", 2).add();
        assertThat(vfio.open(CDEV)).isPositive();
        assertThat(vfio.open("/dev/vfio/devices/vfio1")).isPositive();
        assertErrno(Errno.ENOENT, vfio.open("/dev/vfio/devices/vfio2"));
        assertThat(vfio.open("/dev/vfio/1")).isPositive();
        assertThatIllegalArgumentException()
                .isThrownBy(() -> Profile.parse("6.1,cdev"))
                .withMessageContaining("before 6.6");
    }

    /** As "cdevprobe" in the lab, with the same numbers. */
    @ParameterizedTest
    @ValueSource(strings = {"6.12,cdev", "7.1,cdev", "7.1,arm64,cdev"})
    void deviceAnswersFromBindOn(String profile) {
        VfioFiles files = files(profile);
        VfioWorld vfio = files.vfio();
        FakePciDevice hardware = vfio.fake().pciDevice(NAME, 1).msix(2).add();
        int device = vfio.open(CDEV);
        int iommufd = files.iommufd();
        assertErrno(Errno.EINVAL, files.info(device));
        assertErrno(Errno.EINVAL, vfio.ioctl(device, 0x1234, 0)); // unknown
        assertErrno(Errno.EINVAL, files.attach(device, 1));
        ByteBuffer word = Buffers.allocate(4);
        assertErrno(
                Errno.EINVAL,
                vfio.fake().libc().pread(device, vfio.fake().libc().addressOf(word), 4, 7L << 40));
        assertThat(files.bind(device, iommufd)).isEqualTo(1);
        int space = files.space(iommufd);
        assertThat(space).isEqualTo(2);
        assertThat(files.attach(device, space)).isEqualTo(3);
        assertThat(files.info(device)).isZero();
        int event = vfio.world.eventfd();
        OpenedDevice bound = vfio.bound(hardware, device, iommufd);
        assertOk(bound.arm(MSIX, 0, event));
        bound.writeCommand(MASTER);
        assertThat(hardware.sendMessage(0)).isTrue();
        assertThat(vfio.take(event)).isEqualTo(1);
        vfio.fake().libc().close(device);
        assertThat(hardware.sendMessage(0)).as("closed").isFalse();
        assertErrno(Errno.ENOENT, files.destroy(iommufd, 3)); // gone with the device
        assertThat(files.destroy(iommufd, space)).isZero();
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.12,cdev", "7.1,cdev"})
    void bindIsCheckedInOrder(String profile) {
        boolean tokens = profile.startsWith("7.1");
        VfioFiles files = files(profile);
        VfioWorld vfio = files.vfio();
        vfio.fake().pciDevice(NAME, 1).add();
        vfio.fake().pciDevice("0000:00:03.0", 1).add();
        int device = vfio.open(CDEV);
        int iommufd = files.iommufd();
        long request = UapiVfio.VFIO_DEVICE_BIND_IOMMUFD;
        assertErrno(Errno.EFAULT, vfio.ioctl(device, request, 0));
        assertErrno(Errno.EINVAL, vfio.ioctl(device, request, VfioFiles.bind(15, 0, iommufd)));
        assertErrno(Errno.EINVAL, vfio.ioctl(device, request, VfioFiles.bind(16, 2, iommufd)));
        assertErrno(Errno.EINVAL, vfio.ioctl(device, request, VfioFiles.bind(16, 0, -1)));
        int group = vfio.open("/dev/vfio/1");
        vfio.attach(group);
        int ofGroup = vfio.deviceFd(group, NAME);
        assertErrno(Errno.EINVAL, files.bind(ofGroup, 999)); // of a group, and not open
        assertErrno(Errno.ENOTTY, vfio.ioctl(ofGroup, UapiVfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT, 0));
        assertErrno(Errno.EBUSY, files.bind(device, 999)); // group open, and no iommufd
        vfio.fake().libc().close(ofGroup);
        vfio.fake().libc().close(group);
        assertErrno(Errno.EBADF, files.bind(device, 999));
        assertErrno(Errno.EBADFD, files.bind(device, vfio.world.eventfd()));
        ByteBuffer withToken = VfioFiles.bind(24, 1, 999);
        if (tokens) {
            assertThatThrownBy(() -> vfio.ioctl(device, request, withToken)).hasMessageContaining("with a token");
        } else {
            assertErrno(Errno.EINVAL, vfio.ioctl(device, request, withToken));
        }
        assertThat(files.bind(device, iommufd)).isPositive();
        assertErrno(Errno.EINVAL, files.bind(device, 999)); // bound already
        int second = vfio.open(CDEV);
        assertErrno(Errno.EBADF, files.bind(second, 999)); // no iommufd first
        assertErrno(Errno.EINVAL, files.bind(second, iommufd)); // open through another file
        int other = vfio.open("/dev/vfio/devices/vfio1");
        assertErrno(Errno.EPERM, files.bind(other, vfio.open("/dev/iommu"))); // another iommufd owns the group
        assertThat(files.bind(other, iommufd)).isPositive();
        vfio.fake().pciDevice("0000:00:04.0", 2).add();
        vfio.fake().pciDevice("0000:00:04.1", 2).addToHost();
        assertErrno(Errno.EPERM, files.bind(vfio.open("/dev/vfio/devices/vfio2"), iommufd)); // not viable
    }

    @Test
    void devicesOfAGroupShareAPageTable() {
        VfioFiles files = files("7.1,cdev");
        VfioWorld vfio = files.vfio();
        vfio.fake().pciDevice(NAME, 1).add();
        vfio.fake().pciDevice("0000:00:03.0", 1).add();
        int device = vfio.open(CDEV);
        int other = vfio.open("/dev/vfio/devices/vfio1");
        int iommufd = files.iommufd();
        int id = files.bind(device, iommufd);
        assertThat(files.bind(other, iommufd)).isPositive();
        int first = files.space(iommufd);
        int second = files.space(iommufd);
        long request = UapiVfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT;
        assertErrno(Errno.EFAULT, vfio.ioctl(device, request, 0));
        assertErrno(
                Errno.EINVAL, vfio.ioctl(device, request, Buffers.allocate(12).putInt(0, 11)));
        assertErrno(
                Errno.EINVAL,
                vfio.ioctl(device, request, Buffers.allocate(12).putInt(0, 12).putInt(4, 2)));
        assertErrno(Errno.ENOENT, files.attach(device, 99));
        assertErrno(Errno.EINVAL, files.attach(device, id)); // a device
        int table = files.attach(device, first);
        assertThat(table).isPositive();
        assertThat(files.attach(device, first)).as("again").isEqualTo(table);
        assertErrno(Errno.EINVAL, files.attach(other, second)); // its group is attached elsewhere
        assertThat(files.attach(other, first)).as("of the group").isEqualTo(table);
        assertErrno(Errno.EBUSY, files.destroy(iommufd, first));
        assertErrno(Errno.EBUSY, files.destroy(iommufd, table));
        assertErrno(Errno.EBUSY, files.destroy(iommufd, id));
        for (int elsewhere : new int[] {second, table}) {
            assertThatThrownBy(() -> files.attach(device, elsewhere)).hasMessageContaining("another address space");
        }
        assertThatThrownBy(() -> files.detach(device)).hasMessageContaining("VFIO_DEVICE_DETACH_IOMMUFD_PT");
        assertThatThrownBy(() -> vfio.ioctl(
                        device, request, Buffers.allocate(16).putInt(0, 16).putInt(4, 1)))
                .hasMessageContaining("a PASID of a VFIO device");
    }

    @Test
    void boundDeviceHoldsTheIommufd() {
        VfioFiles files = files("7.1,cdev");
        VfioWorld vfio = files.vfio();
        vfio.fake().pciDevice(NAME, 1).add();
        int device = vfio.open(CDEV);
        int iommufd = files.iommufd();
        assertThat(files.bind(device, iommufd)).isPositive();
        int space = files.space(iommufd);
        vfio.fake().libc().close(iommufd);
        assertThat(files.attach(device, space)).isPositive();
        vfio.fake().libc().close(device);
        assertThat(vfio.open("/dev/vfio/1")).isPositive();
    }

    @Test
    void hotResetGoesByTheIommufd() {
        VfioFiles files = files("7.1,cdev");
        VfioWorld vfio = files.vfio();
        vfio.fake().pciDevice("0000:3b:00.0", 5).add();
        vfio.fake().pciDevice("0000:3b:00.1", 5).add();
        vfio.fake().pciDevice("0000:3b:00.2", 6).add();
        int device = vfio.open(CDEV);
        int iommufd = files.iommufd();
        int id = files.bind(device, iommufd);
        assertErrno(Errno.EINVAL, hotReset(vfio, device, 1)); // no groups
        ByteBuffer info = Buffers.allocate(36).putInt(0, 36);
        assertThat(vfio.ioctl(device, UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info))
                .isZero();
        assertThat(info.getInt(VfioPciHotResetInfo.FLAGS)).isEqualTo(UapiVfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID);
        assertThat(ids(info)).containsExactly(id, 0, -1);
        int third = files.bind(vfio.open("/dev/vfio/devices/vfio2"), iommufd);
        assertThat(vfio.ioctl(device, UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info))
                .isZero();
        assertThat(info.getInt(VfioPciHotResetInfo.FLAGS))
                .isEqualTo(UapiVfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID | UapiVfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED);
        assertThat(ids(info)).containsExactly(id, 0, third);
        vfio.fake().pciDevice("0000:3c:00.0", 7).add();
        int alone = vfio.open("/dev/vfio/devices/vfio3");
        assertThat(files.bind(alone, iommufd)).isPositive();
        assertThat(hotReset(vfio, alone, 0)).isZero();
    }

    private static int hotReset(VfioWorld vfio, int device, int count) {
        ByteBuffer reset = Buffers.allocate(16).putInt(0, 16).putInt(VfioPciHotReset.COUNT, count);
        return vfio.ioctl(device, UapiVfio.VFIO_DEVICE_PCI_HOT_RESET, reset);
    }

    private static List<Integer> ids(ByteBuffer info) {
        List<Integer> ids = new ArrayList<>();
        for (int i = 0; i < info.getInt(VfioPciHotResetInfo.COUNT); i++) {
            ids.add(info.getInt(VfioPciHotResetInfo.SIZE + i * VfioPciDependentDevice.SIZE));
        }
        return ids;
    }
}
