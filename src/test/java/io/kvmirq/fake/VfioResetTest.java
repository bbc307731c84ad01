/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.VfioUser.INTX;
import static io.kvmirq.fake.VfioUser.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceFeature;
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

/** The hot reset of a bus, and the features of a device. */
class VfioResetTest {
    private static final String FIRST = "0000:3b:00.0";
    private static final String SECOND = "0000:3b:00.1";

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

    private static int feature(VfioUser user, int device, int argsz, int flags) {
        return user.ioctl(
                device,
                UapiVfio.VFIO_DEVICE_FEATURE,
                Buffers.allocate(16).putInt(VfioDeviceFeature.ARGSZ, argsz).putInt(VfioDeviceFeature.FLAGS, flags));
    }

    @Test
    void featuresAreCheckedInOrder() {
        int probe = UapiVfio.VFIO_DEVICE_FEATURE_PROBE;
        int get = UapiVfio.VFIO_DEVICE_FEATURE_GET;
        int set = UapiVfio.VFIO_DEVICE_FEATURE_SET;
        int lowPower = 3;
        VfioUser user = user("6.12");
        user.kernel.pciDevice(VfioUser.NAME, 1).add();
        int device = user.device(1);
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_FEATURE, 0)).isEqualTo(refused(Errno.EFAULT));
        assertThat(feature(user, device, 7, probe)).isEqualTo(refused(Errno.EINVAL));
        assertThat(feature(user, device, 8, 0x80000 | probe)).as("unknown flag").isEqualTo(refused(Errno.EINVAL));
        assertThat(feature(user, device, 8, get | set)).isEqualTo(refused(Errno.EINVAL));
        assertThat(feature(user, device, 8, get | set | 0x999))
                .as("flags first")
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(feature(user, device, 8, get | 0x999)).isEqualTo(refused(Errno.ENOTTY));
        for (int absent : new int[] {0, 1, 2, 6, 9}) {
            assertThat(feature(user, device, 8, probe | absent)).isEqualTo(refused(Errno.ENOTTY));
        }
        assertThat(feature(user, device, 8, probe | lowPower)).isZero();
        assertThat(feature(user, device, 8, probe | set | lowPower)).isZero();
        assertThat(feature(user, device, 8, probe | get | lowPower)).isEqualTo(refused(Errno.EINVAL));
        assertThat(feature(user, device, 8, lowPower)).as("no operation").isEqualTo(refused(Errno.EINVAL));
        assertThat(feature(user, device, 8, set | 4))
                .as("no room for its structure")
                .isEqualTo(refused(Errno.EINVAL));
        assertThatThrownBy(() -> feature(user, device, 8, set | lowPower))
                .hasMessageContaining("VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY");
    }

    private static ByteBuffer info(int devices) {
        int argsz = VfioPciHotResetInfo.SIZE + devices * VfioPciDependentDevice.SIZE;
        return Buffers.allocate(argsz).putInt(VfioPciHotResetInfo.ARGSZ, argsz);
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12"})
    void infoListsTheDevicesOnTheBus(String profile) {
        VfioUser user = user(profile);
        user.kernel.pciDevice(FIRST, 5).add();
        user.kernel.pciDevice(SECOND, 6).addToHost();
        user.kernel.pciDevice("0000:3c:00.0", 7).add();
        int device = user.device(5, FIRST);
        long request = UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO;
        assertThat(user.ioctl(device, request, 0)).isEqualTo(refused(Errno.EFAULT));
        assertThat(user.ioctl(device, request, info(0).putInt(0, 11))).isEqualTo(refused(Errno.EINVAL));
        ByteBuffer shortInfo = info(1);
        assertThat(user.ioctl(device, request, shortInfo)).isEqualTo(refused(Errno.ENOSPC));
        assertThat(shortInfo.getInt(VfioPciHotResetInfo.COUNT)).isEqualTo(2);
        assertThat(shortInfo.getInt(VfioPciHotResetInfo.SIZE))
                .as("no device is written")
                .isZero();
        ByteBuffer info = info(2);
        assertThat(user.ioctl(device, request, info)).isZero();
        assertThat(info.getInt(VfioPciHotResetInfo.COUNT)).isEqualTo(2);
        int second = VfioPciHotResetInfo.SIZE + VfioPciDependentDevice.SIZE;
        assertThat(info.getInt(second + VfioPciDependentDevice.GROUP_ID)).isEqualTo(6);
        assertThat(info.get(second + VfioPciDependentDevice.BUS)).isEqualTo((byte) 0x3b);
        assertThat(info.get(second + VfioPciDependentDevice.DEVFN)).isEqualTo((byte) 1);
    }

    private static int reset(VfioUser user, int device, int flags, int... groups) {
        int argsz = VfioPciHotReset.SIZE + groups.length * Integer.BYTES;
        ByteBuffer reset = Buffers.allocate(argsz)
                .putInt(VfioPciHotReset.ARGSZ, argsz)
                .putInt(VfioPciHotReset.FLAGS, flags)
                .putInt(VfioPciHotReset.COUNT, groups.length);
        for (int i = 0; i < groups.length; i++) {
            reset.putInt(VfioPciHotReset.GROUP_FDS + i * Integer.BYTES, groups[i]);
        }
        return user.ioctl(device, UapiVfio.VFIO_DEVICE_PCI_HOT_RESET, reset);
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.18"})
    void rootBusHasNoHotReset(String profile) {
        VfioUser user = user(profile);
        user.kernel.pciDevice(VfioUser.NAME, 1).add();
        int device = user.device(1);
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_PCI_HOT_RESET, 0)).isEqualTo(refused(Errno.EFAULT));
        assertThat(reset(user, device, 1, -1)).isEqualTo(refused(Errno.EINVAL));
        assertThat(reset(user, device, 0))
                .as("count 0, which is for a cdev since 6.6")
                .isEqualTo(refused(profile.equals("6.1") ? Errno.ENODEV : Errno.EINVAL));
        assertThat(reset(user, device, 0, -1)).isEqualTo(refused(Errno.ENODEV));
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info(1)))
                .isEqualTo(refused(Errno.ENODEV));
    }

    @Test
    void hotResetNeedsAllGroupsOfTheBus() {
        VfioUser user = user("6.18");
        FakePciDevice hardware = user.kernel.pciDevice(FIRST, 5).intx().add();
        user.kernel.pciDevice(SECOND, 6).add();
        int group = user.open("/dev/vfio/5");
        int other = user.open("/dev/vfio/6");
        int device = user.deviceOf(group, FIRST);
        int event = user.event();
        assertThat(user.arm(device, INTX, 0, event)).isZero();
        hardware.requestService();
        assertThat(user.take(event)).isEqualTo(1);
        assertThat(reset(user, device, 0, group, other, other)).as("too many").isEqualTo(refused(Errno.EINVAL));
        assertThat(reset(user, device, 0, 999)).isEqualTo(refused(Errno.EBADF));
        assertThat(reset(user, device, 0, device)).as("no group").isEqualTo(refused(Errno.EINVAL));
        assertThat(reset(user, device, 0, group)).as("not all groups").isEqualTo(refused(Errno.EINVAL));
        assertThat(reset(user, device, 0, group, other)).isZero();
        assertThat(user.setIrqs(device, VfioUser.UNMASK | VfioUser.NONE, INTX, 0, 1))
                .isZero();
        assertThat(user.take(event)).as("the device forgot its request").isZero();
        user.kernel.pciDevice("0000:3b:00.2", 6).addToHost();
        assertThat(reset(user, device, 0, group, other))
                .as("a driver of the host")
                .isEqualTo(refused(Errno.EINVAL));
    }
}
