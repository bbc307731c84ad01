/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.TestDevice.NVME;
import static io.kvmirq.contract.World.assertErrno;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.NotModelledException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.contract.OpenedDevice;
import io.kvmirq.contract.VfioWorld;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;

/** The configuration space of a fake device, and its requests that need more than the fake models. */
class OpenedDeviceTest {
    @AutoClose
    private final VfioWorld vfio = VfioWorld.ofFake("6.18", NVME);

    private final OpenedDevice device = vfio.device(NVME);

    @Test
    void requestsOfADeviceFileAndOfABarAreRefused() {
        for (long ofCdev : new long[] {
            UapiVfio.VFIO_DEVICE_BIND_IOMMUFD,
            UapiVfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT,
            UapiVfio.VFIO_DEVICE_DETACH_IOMMUFD_PT
        }) {
            assertErrno(Errno.ENOTTY, vfio.ioctl(device.fd, ofCdev, 0)); // built without cdev
        }
        for (long request : new long[] {UapiVfio.VFIO_DEVICE_IOEVENTFD, UapiVfio.VFIO_DEVICE_FEATURE}) {
            assertThatThrownBy(() -> vfio.ioctl(device.fd, request, 0))
                    .isInstanceOf(NotModelledException.class)
                    .hasMessageContaining("VFIO_DEVICE_");
        }
    }

    @Test
    void configurationSpaceHasHeaderAndCapabilities() {
        device.writeCommand(7);
        assertThat(device.readConfig(COMMAND)).isEqualTo(7);
        assertThat(device.readConfig(STATUS)).isEqualTo(0x10);
        vfio.hardware(NVME).requestService();
        assertThat(device.readConfig(STATUS)).isEqualTo(0x18);
        assertThat(device.readConfig(0)).as("vendor").isEqualTo(0x1b36);
        assertThat(device.readConfig(2)).as("device").isEqualTo(0x0010);
        assertThat(device.readConfig(0x3c)).as("pin").isEqualTo(0x0100);
        int express = device.readConfig(0x34);
        assertThat(device.readConfig(express) & 0xff).isEqualTo(0x10);
        assertThat(device.readConfig(express + 6)).as("function reset").isEqualTo(1 << 12);
        int power = device.readConfig(express) >>> 8;
        assertThat(device.readConfig(power) & 0xff).isEqualTo(1);
        int msix = device.readConfig(power) >>> 8;
        assertThat(device.readConfig(msix)).as("MSI-X, the last one").isEqualTo(0x11);
        assertThat(device.readConfig(msix + 2)).as("vectors less one").isEqualTo(64);
    }

    @Test
    void everyFileOfVfioIsReadAndMappedAsLinuxDoesIt() {
        FakeKernel kernel = vfio.fake();
        long word = kernel.libc().addressOf(Buffers.allocate(8));
        int bare = vfio.device(vfio.fake().pciDevice("0000:3b:00.0", 9).add(), 9, "0000:3b:00.0").fd;
        assertErrno(Errno.EINVAL, kernel.libc().read(bare, word, 4)); // the empty first BAR
        assertErrno(Errno.EINVAL, kernel.libc().write(bare, word, 4));
        assertThat(kernel.libc().read(device.fd, word, 0)).isZero();
        for (int fd : new int[] {device.container, device.group}) {
            assertErrno(Errno.EINVAL, kernel.libc().pread(fd, word, 4, 0)); // they have places, and cannot be read
            assertErrno(Errno.EINVAL, kernel.libc().pwrite(fd, word, 4, 0));
        }
        long config = (long) UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX << 40;
        assertErrno(Errno.EINVAL, kernel.libc().mmap(4096, 3, Uapi.MAP_SHARED, device.fd, config));
        assertThatThrownBy(() -> kernel.libc().open(kernel.libc().addressOf(Buffers.cString("/dev/vfio/")), 0, 0))
                .isInstanceOf(NotModelledException.class);
    }

    @Test
    void accessesOfRegionsAreChecked() {
        FakeKernel kernel = vfio.fake();
        long config = (long) UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX << 40;
        long word = kernel.libc().addressOf(Buffers.allocate(8));
        assertErrno(Errno.EINVAL, kernel.libc().pread(device.fd, word, 2, 1L << 40)); // an empty BAR
        assertErrno(Errno.EINVAL, kernel.libc().pread(device.fd, word, 2, 9L << 40)); // no region
        assertThat(kernel.libc().pread(device.fd, word, 0, 0)).isZero();
        assertErrno(Errno.EINVAL, kernel.libc().pwrite(device.fd, word, 4, 1L << 40));
        assertErrno(Errno.EFAULT, kernel.libc().pread(device.fd, word, 8, config + 4092)); // beyond
        assertErrno(Errno.EFAULT, kernel.libc().pread(device.fd, word, -1, config));
        assertErrno(Errno.EFAULT, kernel.libc().pwrite(device.fd, word, Long.MIN_VALUE, config));
        assertThat(kernel.libc().pread(device.fd, word, 8, config + 4088)).isEqualTo(8);
        assertErrno(Errno.EFAULT, kernel.libc().pwrite(device.fd, word, 4, config + 4096));
        assertErrno(Errno.EFAULT, kernel.libc().pread(device.fd, 0, 2, config + COMMAND));
        assertErrno(Errno.EFAULT, kernel.libc().pwrite(device.fd, 0, 2, config + COMMAND));
    }
}
