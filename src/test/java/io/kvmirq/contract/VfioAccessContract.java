/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.TestDevice.NVME;
import static io.kvmirq.contract.VfioDevice.*;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Epoll;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceIoeventfd;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/**
 * What can be done with the files of VFIO besides their requests, eventfds that write to registers, and low power:
 * drivers/vfio/pci/vfio_pci_rdwr.c, vfio_pci_core.c, virqfd.c.
 */
@VfioContract
class VfioAccessContract extends VfioSuite {
    private static final int PAGE = 4096;
    /** A register of NVMe of 4 bytes that holds what is written, as long as the controller is off. */
    private static final int ADMIN_QUEUES = 0x24;

    private static final int ADMIN_SUBMISSIONS = 0x28;
    private static final int TABLE = 0x2000;
    private static final int BAR_SIZE = 0x4000;

    private static final int SET = UapiVfio.VFIO_DEVICE_FEATURE_SET;
    private static final int ENTRY = UapiVfio.VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY;
    private static final int WAKEUP = UapiVfio.VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP;
    private static final int EXIT = UapiVfio.VFIO_DEVICE_FEATURE_LOW_POWER_EXIT;

    // Files

    private long map(int fd) {
        return vfio.libc().mmap(PAGE, Uapi.PROT_READ, Uapi.MAP_SHARED, fd, 0);
    }

    @Test
    void containersAndGroupsAreNeitherReadNorMapped() {
        int group = vfio.group(EDU);
        int container = vfio.attach(group);
        for (int fd : new int[] {container, group}) {
            assertErrno(Errno.EINVAL, vfio.libc().read(fd, Buffers.allocate(4)));
            assertErrno(Errno.EINVAL, vfio.libc().pread(fd, Buffers.allocate(4), 0));
            assertErrno(Errno.EINVAL, vfio.libc().pwrite(fd, Buffers.allocate(4), 0));
            assertErrno(Errno.ENODEV, map(fd));
        }
    }

    @Test
    void allFilesAreReadyAndNoneIsWatched() {
        VfioDevice device = vfio.device(EDU);
        int set = world.own(vfio.libc().epollCreate(Uapi.EPOLL_CLOEXEC));
        ByteBuffer event = Buffers.allocate(16).putInt(0, Epoll.EPOLLIN);
        for (int fd : new int[] {device.container, device.group, device.fd}) {
            assertThat(world.polled(fd)).isEqualTo(Uapi.POLLIN);
            assertErrno(
                    Errno.EPERM,
                    vfio.libc()
                            .epollCtl(set, Epoll.EPOLL_CTL_ADD, fd, vfio.libc().addressOf(event)));
        }
    }

    @Test
    void readsAndWritesOfTheFileMoveItsPosition() {
        VfioDevice device = vfio.device(NVME);
        assertThat(device.writeRegion(ADMIN_QUEUES, 4, 0x1f_001f)).isEqualTo(4);
        assertThat(vfio.libc().read(device.fd, Buffers.allocate(ADMIN_QUEUES))).isEqualTo(ADMIN_QUEUES);
        ByteBuffer value = Buffers.allocate(4);
        assertThat(vfio.libc().read(device.fd, value)).isEqualTo(4);
        assertThat(value.getInt(0)).isEqualTo(0x1f_001f);
        ByteBuffer address = Buffers.allocate(4).putInt(0, 0x1234_5000);
        int again = world.own(vfio.libc().fcntl(device.fd, Uapi.F_DUPFD_CLOEXEC, 0));
        assertThat(vfio.libc().write(again, vfio.libc().addressOf(address), 4)).isEqualTo(4);
        assertThat(device.readRegion(ADMIN_SUBMISSIONS, 4)).isEqualTo(0x1234_5000);
        ByteBuffer rest = Buffers.allocate(BAR_SIZE);
        assertThat(vfio.libc().read(device.fd, rest)).isEqualTo(BAR_SIZE - ADMIN_SUBMISSIONS - 4);
        assertErrno(Errno.EINVAL, vfio.libc().read(device.fd, value));
    }

    // VFIO_DEVICE_IOEVENTFD

    private int write(VfioDevice device, int flags, long offset, long data, int event) {
        return vfio.ioctl(
                device.fd,
                UapiVfio.VFIO_DEVICE_IOEVENTFD,
                Structs.of("vfio_device_ioeventfd", VfioDeviceIoeventfd.SIZE, flags, offset, data, event));
    }

    @Test
    void eventfdWritesToARegister() {
        VfioDevice device = vfio.device(NVME);
        int event = world.eventfd();
        assertThat(device.writeRegion(ADMIN_QUEUES, 4, 0)).isEqualTo(4);
        assertOk(write(device, 4, ADMIN_QUEUES, 0x1f_001f, event));
        assertThat(device.readRegion(ADMIN_QUEUES, 4)).isZero();
        vfio.signal(event);
        assertThat(device.readRegion(ADMIN_QUEUES, 4)).isEqualTo(0x1f_001f);
        assertThat(vfio.take(event)).as("the device has read it").isZero();
        assertThat(device.writeRegion(ADMIN_QUEUES, 4, 0)).isEqualTo(4);
        device.writeCommand(0);
        vfio.signal(event);
        device.writeCommand(7);
        assertThat(device.readRegion(ADMIN_QUEUES, 4)).as("memory was off").isZero();
        assertOk(write(device, 4, ADMIN_QUEUES, 0x1f_001f, -1));
        vfio.signal(event);
        assertThat(device.readRegion(ADMIN_QUEUES, 4)).as("removed").isZero();
        assertThat(vfio.take(event)).isEqualTo(1);
    }

    @Test
    void eventfdThatIsSignalledWritesWhenItIsAdded() {
        VfioDevice device = vfio.device(NVME);
        int event = world.eventfd();
        vfio.signal(event);
        assertOk(write(device, 4, ADMIN_QUEUES, 0x3f_003f, event));
        assertThat(device.readRegion(ADMIN_QUEUES, 4)).isEqualTo(0x3f_003f);
        assertThat(vfio.take(event)).as("not read").isEqualTo(1);
    }

    @Test
    void eventfdOfARegisterIsCheckedInOrder() {
        VfioDevice device = vfio.device(NVME);
        int event = world.eventfd();
        assertErrno(Errno.EFAULT, vfio.ioctl(device.fd, UapiVfio.VFIO_DEVICE_IOEVENTFD, 0));
        ByteBuffer tooShort = Structs.of("vfio_device_ioeventfd", 27, 4, 0, 0, event);
        assertErrno(Errno.EINVAL, vfio.ioctl(device.fd, UapiVfio.VFIO_DEVICE_IOEVENTFD, tooShort));
        for (int flags : new int[] {0, 3, 16}) {
            assertErrno(Errno.EINVAL, write(device, flags, ADMIN_QUEUES, 0, event));
        }
        assertErrno(Errno.EINVAL, write(device, 4, ADMIN_QUEUES, 0, -2));
        assertErrno(Errno.EINVAL, write(device, 4, 6L << 40, 0, event));
        assertErrno(Errno.EINVAL, write(device, 4, 1L << 40, 0, event));
        assertErrno(Errno.EINVAL, write(device, 4, BAR_SIZE - 3, 0, event));
        assertErrno(Errno.EINVAL, write(device, 4, TABLE - 2, 0, event));
        assertErrno(Errno.ENODEV, write(device, 4, ADMIN_QUEUES, 0, -1));
        assertErrno(Errno.EBADF, write(device, 4, ADMIN_QUEUES, 0, VfioWorld.NOT_OPEN));
        assertErrno(Errno.EINVAL, write(device, 4, ADMIN_QUEUES, 0, device.group));
        assertOk(write(device, 4, ADMIN_QUEUES, 0, event));
        assertErrno(Errno.EEXIST, write(device, 4, ADMIN_QUEUES, 0, VfioWorld.NOT_OPEN));
        assertOk(write(device, 2, ADMIN_QUEUES, 0, event));
        assertOk(write(device, 4, ADMIN_QUEUES, 1, event));
        assertOk(write(device, 4, ADMIN_QUEUES, 0, -1));
        assertErrno(Errno.ENODEV, write(device, 4, ADMIN_QUEUES, 0, -1));
    }

    @Test
    void eventfdWritesEightBytes() {
        VfioDevice device = vfio.device(NVME);
        int event = world.eventfd();
        if (vfio.isSince(6, 14)) {
            assertErrno(Errno.EINVAL, write(device, 8, ADMIN_SUBMISSIONS, 0x1_2345_6000L, event));
            return;
        }
        assertOk(write(device, 8, ADMIN_SUBMISSIONS, 0x1_2345_6000L, event));
        vfio.signal(event);
        assertThat(device.readRegion(ADMIN_SUBMISSIONS, 8)).isEqualTo(0x1_2345_6000L);
    }

    @Test
    void closedEventfdLeavesItsPlaceTaken() {
        VfioDevice device = vfio.device(NVME);
        int event = world.eventfd();
        assertOk(write(device, 4, ADMIN_QUEUES, 0, event));
        closeFile(event);
        assertErrno(Errno.EEXIST, write(device, 4, ADMIN_QUEUES, 0, world.eventfd()));
        assertOk(write(device, 4, ADMIN_QUEUES, 0, -1));
    }

    @Test
    void deviceHasThousandEventfds() {
        VfioDevice device = vfio.device(NVME);
        int event = world.eventfd();
        for (int i = 0; i < 1000; i++) {
            assertOk(write(device, 4, ADMIN_QUEUES, i, event));
        }
        assertErrno(Errno.ENOSPC, write(device, 4, ADMIN_QUEUES, 1000, event));
    }

    @Test
    void lastCloseForgetsTheEventfdsOfRegisters() {
        VfioDevice device = vfio.device(NVME);
        int event = world.eventfd();
        assertOk(write(device, 4, ADMIN_QUEUES, 0, event));
        device.close();
        assertOk(write(vfio.device(NVME), 4, ADMIN_QUEUES, 0, event));
    }

    // Low power

    private int feature(VfioDevice device, int feature, int event, int reserved) {
        ByteBuffer argument = Buffers.allocate(16)
                .putInt(0, 16)
                .putInt(4, SET | feature)
                .putInt(8, event)
                .putInt(12, reserved);
        return vfio.ioctl(device.fd, UapiVfio.VFIO_DEVICE_FEATURE, argument);
    }

    @Test
    void lowPowerIsEnteredOnceAndLeftAtAnyTime() {
        VfioDevice device = vfio.device(NVME);
        assertOk(feature(device, EXIT, 0, 0));
        assertOk(feature(device, ENTRY, 0, 0));
        assertErrno(Errno.EINVAL, feature(device, ENTRY, 0, 0));
        assertThat(device.readRegion(0, 4)).as("an access wakes the device").isEqualTo(0x0f01_07ff);
        assertThat(device.readConfig(0, 2)).isEqualTo(0x1b36);
        assertErrno(Errno.EINVAL, feature(device, ENTRY, 0, 0));
        assertOk(feature(device, EXIT, 0, 0));
        assertOk(feature(device, ENTRY, 0, 0));
        device.close();
        assertOk(feature(vfio.device(NVME), ENTRY, 0, 0));
    }

    @Test
    void wakeupIsCheckedInOrder() {
        VfioDevice device = vfio.device(NVME);
        assertOk(feature(device, ENTRY, 0, 0));
        assertErrno(Errno.EINVAL, feature(device, WAKEUP, -1, 0));
        assertErrno(Errno.EBADF, feature(device, WAKEUP, VfioWorld.NOT_OPEN, 1)); // reserved is not checked
        assertErrno(Errno.EINVAL, feature(device, WAKEUP, device.group, 0));
        assertErrno(Errno.EINVAL, feature(device, WAKEUP, world.eventfd(), 0));
    }
}
