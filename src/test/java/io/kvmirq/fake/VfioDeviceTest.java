/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.VfioUser.ERR;
import static io.kvmirq.fake.VfioUser.INTX;
import static io.kvmirq.fake.VfioUser.MASTER;
import static io.kvmirq.fake.VfioUser.MSI;
import static io.kvmirq.fake.VfioUser.MSIX;
import static io.kvmirq.fake.VfioUser.NAME;
import static io.kvmirq.fake.VfioUser.REQ;
import static io.kvmirq.fake.VfioUser.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.NotModelledException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import io.kvmirq.uapi.UapiVfio.VfioIrqInfo;
import io.kvmirq.uapi.UapiVfio.VfioRegionInfo;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a VFIO device has, its reset, its configuration space and its life. */
class VfioDeviceTest {
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

    private static FakePciDevice.Builder nvme(VfioUser user) {
        return user.kernel
                .pciDevice(NAME, 1)
                .ids(0x1b36, 0x10)
                .intx()
                .msix(65)
                .express()
                .resettable();
    }

    private static String irqInfo(VfioUser user, int device, int argsz, int index) {
        ByteBuffer info = Buffers.allocate(VfioIrqInfo.SIZE)
                .putInt(VfioIrqInfo.ARGSZ, argsz)
                .putInt(VfioIrqInfo.INDEX, index);
        int result = user.ioctl(device, UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, info);
        return result < 0
                ? new Errno(-result).toString()
                : info.getInt(VfioIrqInfo.FLAGS) + " " + info.getInt(VfioIrqInfo.COUNT);
    }

    /** As nvme in the lab: flags and count. */
    @ParameterizedTest
    @CsvSource({"6.1, 9 65", "6.12, 1 65", "7.1, 1 65"})
    void interruptsAreAsInTheLab(String profile, String msix) {
        VfioUser user = user(profile);
        nvme(user).add();
        int device = user.device(1);
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, 0)).isEqualTo(refused(Errno.EFAULT));
        assertThat(irqInfo(user, device, 15, INTX)).isEqualTo("EINVAL");
        assertThat(irqInfo(user, device, 16, 5)).isEqualTo("EINVAL");
        assertThat(irqInfo(user, device, 16, INTX)).isEqualTo("7 1");
        assertThat(irqInfo(user, device, 16, MSI)).isEqualTo("9 0");
        assertThat(irqInfo(user, device, 16, MSIX)).isEqualTo(msix);
        assertThat(irqInfo(user, device, 16, ERR)).isEqualTo("9 1");
        assertThat(irqInfo(user, device, 16, REQ)).isEqualTo("9 1");
    }

    /** As edu in the lab. */
    @Test
    void conventionalDeviceReportsNoErrors() {
        VfioUser user = user("6.12");
        user.kernel.pciDevice(NAME, 1).intx().msi(1).add();
        int device = user.device(1);
        assertThat(irqInfo(user, device, 16, MSI)).isEqualTo("9 1");
        assertThat(irqInfo(user, device, 16, MSIX)).as("no capability").isEqualTo("9 0");
        assertThat(irqInfo(user, device, 16, ERR)).isEqualTo("EINVAL");
    }

    @ParameterizedTest
    @CsvSource({"6.1, 20", "6.12, 24"})
    void infoIsWrittenAsFarAsItIsAskedFor(String profile, int whole) {
        VfioUser user = user(profile);
        nvme(user).add();
        int device = user.device(1);
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_GET_INFO, 0)).isEqualTo(refused(Errno.EFAULT));
        assertThat(info(user, device, 15)).isEqualTo(refused(Errno.EINVAL));
        assertThat(info(user, device, 16))
                .as("the first byte that was not written")
                .isEqualTo(16);
        assertThat(info(user, device, 24)).isEqualTo(whole);
    }

    /** Returns where the kernel stopped to write, or a negative errno. */
    private static int info(VfioUser user, int device, int argsz) {
        ByteBuffer info = Buffers.allocate(32);
        for (int i = 0; i < 32; i++) {
            info.put(i, (byte) 0xee);
        }
        info.putInt(VfioDeviceInfo.ARGSZ, argsz);
        int result = user.ioctl(device, UapiVfio.VFIO_DEVICE_GET_INFO, info);
        if (result < 0) {
            return result;
        }
        assertThat(info.getInt(VfioDeviceInfo.FLAGS))
                .isEqualTo(UapiVfio.VFIO_DEVICE_FLAGS_PCI | UapiVfio.VFIO_DEVICE_FLAGS_RESET);
        assertThat(info.getInt(VfioDeviceInfo.NUM_REGIONS)).isEqualTo(9);
        assertThat(info.getInt(VfioDeviceInfo.NUM_IRQS)).isEqualTo(5);
        int end = 16;
        while (info.get(end) == 0) {
            end++;
        }
        return end;
    }

    @Test
    void configurationSpaceIsTheOnlyRegion() {
        VfioUser user = user("6.18");
        nvme(user).add();
        int device = user.device(1);
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_GET_REGION_INFO, 0)).isEqualTo(refused(Errno.EFAULT));
        assertThat(region(user, device, 31, 7)).isEqualTo("EINVAL");
        assertThat(region(user, device, 32, 8)).as("no VGA").isEqualTo("EINVAL");
        assertThat(region(user, device, 32, -1)).isEqualTo("EINVAL");
        assertThat(region(user, device, 32, 7)).isEqualTo("3 1000 70000000000");
        assertThat(region(user, device, 32, 1)).isEqualTo("0 0 10000000000");
    }

    private static String region(VfioUser user, int device, int argsz, int index) {
        ByteBuffer info = Buffers.allocate(VfioRegionInfo.SIZE)
                .putInt(VfioRegionInfo.ARGSZ, argsz)
                .putInt(VfioRegionInfo.INDEX, index);
        int result = user.ioctl(device, UapiVfio.VFIO_DEVICE_GET_REGION_INFO, info);
        return result < 0
                ? new Errno(-result).toString()
                : info.getInt(VfioRegionInfo.FLAGS) + " "
                        + Long.toHexString(info.getLong(VfioRegionInfo.LENGTH)) + " "
                        + Long.toHexString(info.getLong(VfioRegionInfo.OFFSET));
    }

    @Test
    void otherRequestsAreUnknownOrNamed() {
        VfioUser user = user("6.18");
        nvme(user).add();
        int device = user.device(1);
        for (long unknown : new long[] {
            UapiVfio.VFIO_GROUP_GET_STATUS, UapiVfio.VFIO_DEVICE_QUERY_GFX_PLANE, UapiVfio.VFIO_GET_API_VERSION
        }) {
            assertThat(user.ioctl(device, unknown, 0)).isEqualTo(refused(Errno.ENOTTY));
        }
        for (long ofCdev : new long[] {
            UapiVfio.VFIO_DEVICE_BIND_IOMMUFD,
            UapiVfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT,
            UapiVfio.VFIO_DEVICE_DETACH_IOMMUFD_PT
        }) {
            assertThat(user.ioctl(device, ofCdev, 0)).as("built without cdev").isEqualTo(refused(Errno.ENOTTY));
        }
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_IOEVENTFD, 0)).isEqualTo(refused(Errno.EFAULT));
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_IOEVENTFD, Buffers.allocate(32)))
                .as("no BAR")
                .isEqualTo(refused(Errno.EINVAL));
    }

    @Test
    void onlySomeDevicesReset() {
        VfioUser user = user("6.18");
        FakePciDevice hardware = nvme(user).add();
        int device = user.device(1);
        int event = user.event();
        assertThat(user.arm(device, INTX, 0, event)).isZero();
        hardware.requestService();
        assertThat(user.take(event)).isEqualTo(1);
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_RESET, 0)).isZero();
        assertThat(user.setIrqs(device, VfioUser.UNMASK | VfioUser.NONE, INTX, 0, 1))
                .isZero();
        assertThat(user.take(event)).as("the device forgot its request").isZero();
        VfioUser other = user("6.18");
        other.kernel.pciDevice(NAME, 1).add();
        assertThat(other.ioctl(other.device(1), UapiVfio.VFIO_DEVICE_RESET, 0)).isEqualTo(refused(Errno.EINVAL));
    }

    @Test
    void configurationSpaceHasHeaderAndCapabilities() {
        VfioUser user = user("6.18");
        FakePciDevice hardware = nvme(user).add();
        int device = user.device(1);
        long config = 7L << 40;
        assertThat(user.readWord(device, VfioUser.COMMAND)).as("no bus master").isZero();
        user.writeCommand(device, 7);
        assertThat(user.readWord(device, VfioUser.COMMAND)).isEqualTo(7);
        assertThat(user.readWord(device, config + 6)).isEqualTo(0x10);
        hardware.requestService();
        assertThat(user.readWord(device, config + 6)).isEqualTo(0x18);
        assertThat(user.readWord(device, config)).as("vendor").isEqualTo(0x1b36);
        assertThat(user.readWord(device, config + 2)).as("device").isEqualTo(0x0010);
        assertThat(user.readWord(device, config + 0x3c)).as("pin").isEqualTo(0x0100);
        int express = user.readWord(device, config + 0x34);
        assertThat(user.readWord(device, config + express) & 0xff).isEqualTo(0x10);
        assertThat(user.readWord(device, config + express + 6))
                .as("function reset")
                .isEqualTo(1 << 12);
        int msix = user.readWord(device, config + express) >>> 8;
        assertThat(user.readWord(device, config + msix))
                .as("MSI-X, the last one")
                .isEqualTo(0x11);
        assertThat(user.readWord(device, config + msix + 2))
                .as("vectors less one")
                .isEqualTo(64);
        assertThatThrownBy(
                        () -> user.kernel.pwrite(device, user.kernel.addressOf(Buffers.allocate(2)), 2, config + 0x3c))
                .hasMessage("the fake kernel does not model writing configuration space at 0x3c");
        long word = user.kernel.addressOf(Buffers.allocate(8));
        assertThat(user.kernel.pread(device, word, 2, 0)).as("an empty BAR").isEqualTo(refused(Errno.EINVAL));
        assertThat(user.kernel.pread(device, word, 2, 9L << 40)).as("no region").isEqualTo(refused(Errno.EINVAL));
        assertThat(user.kernel.pread(device, word, 0, 0)).isZero();
        assertThat(user.kernel.pwrite(device, word, 4, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(user.kernel.pread(device, word, 8, config + 4092))
                .as("beyond")
                .isEqualTo(refused(Errno.EFAULT));
        assertThat(user.kernel.pread(device, word, 8, config + 4088)).isEqualTo(8);
        assertThat(user.kernel.pwrite(device, word, 4, config + 4096)).isEqualTo(refused(Errno.EFAULT));
        assertThatThrownBy(() -> user.writeCommand(device, 0x100)).isInstanceOf(NotModelledException.class);
        assertThat(user.kernel.pread(device, 0, 2, config + 4)).isEqualTo(refused(Errno.EFAULT));
        assertThat(user.kernel.pwrite(device, 0, 2, config + 4)).isEqualTo(refused(Errno.EFAULT));
    }

    /** Two files of one device share its interrupts; the last close disables them. */
    @Test
    void lastCloseDisablesInterrupts() {
        VfioUser user = user("6.18");
        FakePciDevice hardware = nvme(user).add();
        int container = user.container();
        int group = user.open("/dev/vfio/1");
        assertThat(user.setContainer(group, container)).isZero();
        assertThat(user.ioctl(container, UapiVfio.VFIO_SET_IOMMU, UapiVfio.VFIO_TYPE1v2_IOMMU))
                .isZero();
        int first = user.deviceFd(group, NAME);
        int second = user.deviceFd(group, NAME);
        int event = user.event();
        assertThat(user.arm(first, MSIX, 0, event)).isZero();
        assertThat(user.arm(first, ERR, 0, event)).isZero();
        user.writeCommand(second, MASTER);
        int copy = user.kernel.fcntl(first, Uapi.F_DUPFD_CLOEXEC, 0);
        user.kernel.close(first);
        user.kernel.close(copy);
        assertThat(hardware.sendMessage(0)).as("the other file is open").isTrue();
        user.kernel.close(second);
        assertThat(hardware.sendMessage(0)).isFalse();
        assertThat(hardware.reportError()).isFalse();
        int again = user.deviceFd(group, NAME);
        assertThat(user.readWord(again, VfioUser.COMMAND)).isZero();
        assertThat(user.disable(again, MSIX)).as("not active").isEqualTo(refused(Errno.EINVAL));
        assertThat(user.arm(again, INTX, 0, event)).isZero();
        hardware.requestService();
        assertThat(user.take(event)).as("one message and one INTx").isEqualTo(2);
        user.kernel.close(again);
        assertThat(user.arm(user.deviceFd(group, NAME), MSI, 0, event)).isEqualTo(refused(Errno.EINVAL));
    }
}
