/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.TestDevice.NVME;
import static io.kvmirq.contract.World.assertErrno;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Epoll;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** Reads, writes and mappings of the files of VFIO: drivers/vfio/pci/vfio_pci_rdwr.c, vfio_pci_core.c. */
@VfioContract
class VfioAccessContract extends VfioSuite {
    private static final int PAGE = 4096;
    /** A register of NVMe of 4 bytes that holds what is written, as long as the controller is off. */
    private static final int ADMIN_QUEUES = 0x24;

    private static final int ADMIN_SUBMISSIONS = 0x28;
    private static final int BAR_SIZE = 0x4000;

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
        OpenedDevice device = vfio.device(EDU);
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
        OpenedDevice device = vfio.device(NVME);
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
}
