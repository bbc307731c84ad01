/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.OpenedDevice.INTX;
import static io.kvmirq.contract.OpenedDevice.UNMASK;
import static io.kvmirq.contract.VfioWorld.NOT_OPEN;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.contract.OpenedDevice;
import io.kvmirq.contract.VfioWorld;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioPciDependentDevice;
import io.kvmirq.uapi.UapiVfio.VfioPciHotResetInfo;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The hot reset of a bus with several devices, which the lab does not have. */
class VfioResetTest {
    private static final String FIRST = "0000:3b:00.0";
    private static final String SECOND = "0000:3b:00.1";

    @AutoClose
    private final Undo made = new Undo();

    private VfioWorld fake(String profile) {
        return made.add(VfioWorld.ofFake(profile));
    }

    /** pci_try_reset_function() takes no lock that another thread has, and the removal of a device has it. */
    @Test
    void deviceThatTheHostLocksIsNotReset() {
        VfioWorld vfio = fake("6.12");
        FakePciDevice hardware =
                vfio.fake().pciDevice(FIRST, 5).express().resettable().add();
        int device = vfio.device(hardware, 5, FIRST).fd;
        hardware.lockByHost(true);
        assertErrno(Errno.EAGAIN, vfio.ioctl(device, UapiVfio.VFIO_DEVICE_RESET, 0));
        hardware.lockByHost(false);
        assertOk(vfio.ioctl(device, UapiVfio.VFIO_DEVICE_RESET, 0));
        assertThat(hardware.remove()).isFalse();
        assertErrno(Errno.EAGAIN, vfio.ioctl(device, UapiVfio.VFIO_DEVICE_RESET, 0));
    }

    private static ByteBuffer info(int devices) {
        int argsz = VfioPciHotResetInfo.SIZE + devices * VfioPciDependentDevice.SIZE;
        return Buffers.allocate(argsz).putInt(VfioPciHotResetInfo.ARGSZ, argsz);
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12"})
    void infoListsTheDevicesOnTheBus(String profile) {
        VfioWorld vfio = fake(profile);
        FakePciDevice hardware = vfio.fake().pciDevice(FIRST, 5).add();
        vfio.fake().pciDevice(SECOND, 6).addToHost();
        vfio.fake().pciDevice("0000:3c:00.0", 7).add();
        int device = vfio.device(hardware, 5, FIRST).fd;
        long request = UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO;
        assertErrno(Errno.EFAULT, vfio.ioctl(device, request, 0));
        assertErrno(Errno.EINVAL, vfio.ioctl(device, request, info(0).putInt(0, 11)));
        ByteBuffer shortInfo = info(1);
        assertErrno(Errno.ENOSPC, vfio.ioctl(device, request, shortInfo));
        assertThat(shortInfo.getInt(VfioPciHotResetInfo.COUNT)).isEqualTo(2);
        assertThat(shortInfo.getInt(VfioPciHotResetInfo.SIZE))
                .as("no device is written")
                .isZero();
        ByteBuffer info = info(2);
        assertThat(vfio.ioctl(device, request, info)).isZero();
        assertThat(info.getInt(VfioPciHotResetInfo.COUNT)).isEqualTo(2);
        int second = VfioPciHotResetInfo.SIZE + VfioPciDependentDevice.SIZE;
        assertThat(info.getInt(second + VfioPciDependentDevice.GROUP_ID)).isEqualTo(6);
        assertThat(info.get(second + VfioPciDependentDevice.BUS)).isEqualTo((byte) 0x3b);
        assertThat(info.get(second + VfioPciDependentDevice.DEVFN)).isEqualTo((byte) 1);
    }

    @Test
    void hotResetNeedsTheGroupOfTheDevice() {
        VfioWorld vfio = fake("6.18");
        FakePciDevice hardware = vfio.fake().pciDevice(FIRST, 5).intx().add();
        vfio.fake().pciDevice("0000:3c:00.0", 6).add();
        OpenedDevice device = vfio.device(hardware, 5, FIRST);
        int group = device.group;
        int other = vfio.open("/dev/vfio/6");
        int event = vfio.world.eventfd();
        assertOk(device.arm(INTX, 0, event));
        hardware.requestService();
        assertThat(vfio.take(event)).isEqualTo(1);
        assertErrno(Errno.EINVAL, device.hotReset(0, group, group)); // too many
        assertErrno(Errno.EBADF, device.hotReset(0, NOT_OPEN));
        assertErrno(Errno.EINVAL, device.hotReset(0, device.fd)); // no group
        assertErrno(Errno.EINVAL, device.hotReset(0, other));
        hardware.lockByHost(true);
        assertErrno(Errno.EAGAIN, device.hotReset(0, group));
        hardware.lockByHost(false);
        assertOk(device.hotReset(0, group));
        assertOk(device.intx(UNMASK));
        assertThat(vfio.take(event)).as("the device forgot its request").isZero();
        vfio.fake().pciDevice(SECOND, 6).addToHost();
        assertThatThrownBy(() -> device.hotReset(0, group))
                .hasMessage("the fake kernel does not model VFIO_DEVICE_PCI_HOT_RESET of a bus with several devices");
    }
}
