/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioPciDependentDevice;
import io.kvmirq.uapi.UapiVfio.VfioPciHotResetInfo;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** The reset of a bus and the features of a device: drivers/vfio/pci/vfio_pci_core.c. */
@VfioContract
class VfioBusContract extends VfioSuite {
    /** Where a driver says to a virtio device how far it is: 0 after a reset. */
    private static final int STATUS_OF_DRIVER = 0x14;

    private int info(int device, int argsz) {
        ByteBuffer info = Buffers.allocate(64).putInt(VfioPciHotResetInfo.ARGSZ, argsz);
        return vfio.ioctl(device, UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info);
    }

    @Test
    void rootBusHasNoHotReset() {
        OpenedDevice device = vfio.device(EDU);
        assertErrno(Errno.EFAULT, vfio.ioctl(device.fd, UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, 0));
        assertErrno(Errno.EINVAL, info(device.fd, VfioPciHotResetInfo.SIZE - 1));
        assertErrno(Errno.ENODEV, info(device.fd, 64));
        assertErrno(Errno.EFAULT, vfio.ioctl(device.fd, UapiVfio.VFIO_DEVICE_PCI_HOT_RESET, 0));
        assertErrno(Errno.EINVAL, device.hotReset(1, -1));
        assertErrno(vfio.isSince(6, 6) ? Errno.EINVAL : Errno.ENODEV, device.hotReset(0));
        assertErrno(Errno.ENODEV, device.hotReset(0, -1));
    }

    // Behind a root port

    @Test
    void busOfARootPortHasItsDevice() {
        OpenedDevice device = vfio.behindRootPort();
        ByteBuffer info = Buffers.allocate(64).putInt(VfioPciHotResetInfo.ARGSZ, VfioPciHotResetInfo.SIZE + 7);
        long request = UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO;
        assertErrno(Errno.ENOSPC, vfio.ioctl(device.fd, request, info));
        assertThat(info.getInt(VfioPciHotResetInfo.COUNT)).isEqualTo(1);
        assertThat(info.getInt(VfioPciHotResetInfo.SIZE)).isZero();
        assertOk(vfio.ioctl(device.fd, request, info.putInt(VfioPciHotResetInfo.ARGSZ, VfioPciHotResetInfo.SIZE + 8)));
        assertThat(info.getInt(VfioPciHotResetInfo.FLAGS)).isZero();
        assertThat(info.getInt(VfioPciHotResetInfo.COUNT)).isEqualTo(1);
        assertThat(info.getInt(VfioPciHotResetInfo.SIZE + VfioPciDependentDevice.GROUP_ID))
                .isNotZero();
        assertThat(info.get(VfioPciHotResetInfo.SIZE + VfioPciDependentDevice.BUS))
                .isEqualTo((byte) 1);
        assertThat(info.get(VfioPciHotResetInfo.SIZE + VfioPciDependentDevice.DEVFN))
                .isZero();
    }

    @Test
    void hotResetIsCheckedInOrder() {
        OpenedDevice device = vfio.behindRootPort();
        int other = vfio.group(EDU);
        assertErrno(Errno.EINVAL, device.hotReset(1, device.group));
        assertErrno(Errno.EINVAL, device.hotReset(0));
        assertErrno(Errno.EINVAL, device.hotReset(0, VfioWorld.NOT_OPEN, VfioWorld.NOT_OPEN));
        assertErrno(Errno.EBADF, device.hotReset(0, VfioWorld.NOT_OPEN));
        assertErrno(Errno.EINVAL, device.hotReset(0, device.container));
        assertErrno(Errno.EINVAL, device.hotReset(0, device.fd));
        assertErrno(Errno.EINVAL, device.hotReset(0, other));
    }

    /** Also while its memory is off, which stays so. */
    @Test
    void hotResetForgetsRegistersAndKeepsTheConfigurationSpace() {
        OpenedDevice device = vfio.behindRootPort();
        long status = (4L << 40) + STATUS_OF_DRIVER;
        device.writeCommand(6);
        device.writeConfig(0xc, 1, 0x10);
        assertThat(device.writeRegion(status, 1, 1)).isEqualTo(1);
        assertThat(device.readRegion(status, 1)).isEqualTo(1);
        assertOk(device.hotReset(0, device.group));
        assertThat(device.readConfig(OpenedDevice.COMMAND)).isEqualTo(6);
        assertThat(device.readConfig(0xc, 1)).isEqualTo(0x10);
        assertThat(device.readRegion(status, 1)).isZero();
        assertThat(device.writeRegion(status, 1, 1)).isEqualTo(1);
        device.writeCommand(0);
        assertOk(device.hotReset(0, device.group));
        assertThat(device.readConfig(OpenedDevice.COMMAND)).isZero();
        device.writeCommand(2);
        assertThat(device.readRegion(status, 1)).isZero();
    }
}
