/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.VfioUser.MASTER;
import static io.kvmirq.fake.VfioUser.MSIX;
import static io.kvmirq.fake.VfioUser.NAME;
import static io.kvmirq.fake.VfioUser.REQ;
import static io.kvmirq.fake.VfioUser.number;
import static io.kvmirq.fake.VfioUser.refused;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioGroupStatus;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** Devices that the host removes, and users that are killed: their files are closed in any order. */
class VfioLifetimesTest {
    private static int status(VfioUser user, int group) {
        return user.ioctl(
                group,
                UapiVfio.VFIO_GROUP_GET_STATUS,
                Buffers.allocate(VfioGroupStatus.SIZE).putInt(0, VfioGroupStatus.SIZE));
    }

    @Test
    void removalWaitsForTheLastClose() {
        try (VfioUser user = new VfioUser("6.12")) {
            FakePciDevice hardware = user.kernel.pciDevice(NAME, 1).msix(2).add();
            user.kernel.pciDevice("0000:00:03.0", 2).add();
            int group = user.open("/dev/vfio/1");
            int device = user.deviceOf(group, NAME);
            int request = user.event();
            int event = user.event();
            assertThat(user.arm(device, REQ, 0, request)).isZero();
            assertThat(hardware.remove()).isFalse();
            assertThat(user.take(request)).isEqualTo(1);
            assertThat(hardware.askBack()).as("the host asks every 10 seconds").isTrue();
            assertThat(user.arm(device, MSIX, 0, event))
                    .as("all works as before")
                    .isZero();
            user.writeCommand(device, MASTER);
            assertThat(hardware.sendMessage(0)).isTrue();
            int second = user.deviceFd(group, NAME);
            assertThat(second).isPositive();
            user.kernel.close(device);
            assertThat(user.deviceFd(group, NAME)).as("one file is open").isPositive();
            user.kernel.close(device);
            user.kernel.close(second);
            assertThat(user.deviceFd(group, NAME)).isEqualTo(refused(Errno.ENODEV));
            assertThat(status(user, group)).isEqualTo(refused(Errno.ENODEV));
            assertThat(user.ioctl(group, UapiVfio.VFIO_GROUP_UNSET_CONTAINER, 0))
                    .as("the container is gone")
                    .isEqualTo(refused(Errno.EINVAL));
            assertThat(user.setContainer(group, 999)).isEqualTo(refused(Errno.EBADF));
            assertThat(user.setContainer(group, user.container())).isEqualTo(refused(Errno.ENODEV));
            user.kernel.close(group);
            assertThat(user.open("/dev/vfio/1")).isEqualTo(refused(Errno.ENOENT));
            assertThat(user.kernel.hostFiles().list("sys/bus/pci/devices")).containsExactly("0000:00:03.0");
            user.kernel.pciDevice(NAME, 1).add();
            assertThat(status(user, user.open("/dev/vfio/1"))).isZero();
        }
    }

    @Test
    void unusedDeviceIsRemovedAtOnce() {
        try (VfioUser user = new VfioUser("7.1,cdev")) {
            FakePciDevice hardware = user.kernel.pciDevice(NAME, 1).add();
            int group = user.open("/dev/vfio/1");
            int unbound = user.open("/dev/vfio/devices/vfio0");
            user.kernel.limitDescriptors(unbound + 1);
            assertThat(user.open("/dev/vfio/devices/vfio0")).isEqualTo(refused(Errno.EMFILE));
            user.kernel.limitDescriptors(100);
            assertThat(hardware.remove()).as("held by a file that is not bound").isFalse();
            user.kernel.close(unbound);
            assertThat(user.open("/dev/vfio/devices/vfio0")).isEqualTo(refused(Errno.ENOENT));
            assertThat(user.deviceFd(group, NAME)).isEqualTo(refused(Errno.ENODEV));
            FakePciDevice other = user.kernel.pciDevice(NAME, 1).add();
            assertThat(other.remove()).isTrue();
        }
    }

    /** A user of one device of a host with two interrupt vectors, who can be killed. */
    private static final class Program {
        final VfioUser user;
        final FakePciDevice hardware;
        final KernelBackend fake;
        final Map<String, Integer> files = new TreeMap<>();

        Program(boolean cdev) {
            user = new VfioUser(cdev ? "7.1,cdev" : "7.1");
            hardware = user.kernel.pciDevice(NAME, 1).msix(2).add();
            user.kernel.limitVectors(2);
            fake = user.kernel.backend();
            int vm = fake.vmCreate(fake.kvmOpen(Buffers.cString("/dev/kvm")), 0);
            assertThat(fake.irqchipCreate(vm)).isZero();
            files.put("vm", vm);
            ByteBuffer create = Buffers.allocate(Uapi.KvmCreateDevice.SIZE)
                    .putInt(Uapi.KvmCreateDevice.TYPE, Uapi.KVM_DEV_TYPE_VFIO);
            assertThat(user.ioctl(vm, Uapi.KVM_CREATE_DEVICE, create)).isZero();
            files.put("kvm-vfio", create.getInt(Uapi.KvmCreateDevice.FD));
            if (cdev) {
                files.put("device", user.open("/dev/vfio/devices/vfio0"));
                files.put("iommufd", user.open("/dev/iommu"));
                add("device");
                ByteBuffer bind = Buffers.allocate(16).putInt(0, 16).putInt(8, fd("iommufd"));
                assertThat(user.ioctl(fd("device"), UapiVfio.VFIO_DEVICE_BIND_IOMMUFD, bind))
                        .isZero();
                VfioIommufdTest.alloc(user, fd("iommufd"));
                ByteBuffer attach = Buffers.allocate(12).putInt(0, 12).putInt(8, 2);
                assertThat(user.ioctl(fd("device"), UapiVfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach))
                        .isZero();
            } else {
                files.put("container", user.container());
                files.put("group", user.open("/dev/vfio/1"));
                add("group");
                assertThat(user.setContainer(fd("group"), fd("container"))).isZero();
                assertThat(user.ioctl(fd("container"), UapiVfio.VFIO_SET_IOMMU, 3))
                        .isZero();
                files.put("device", user.deviceFd(fd("group"), NAME));
            }
            files.put("eventfd", user.event());
            assertThat(user.arm(fd("device"), MSIX, 0, fd("eventfd"), fd("eventfd")))
                    .isZero();
            user.writeCommand(fd("device"), MASTER);
            assertThat(fake.irqfdAssign(vm, fd("eventfd"), 24)).isZero();
        }

        int fd(String name) {
            return Objects.requireNonNull(files.get(name));
        }

        private void add(String file) {
            ByteBuffer value = number(fd(file));
            ByteBuffer structure = Buffers.allocate(Uapi.KvmDeviceAttr.SIZE)
                    .putInt(Uapi.KvmDeviceAttr.GROUP, Uapi.KVM_DEV_VFIO_FILE)
                    .putLong(Uapi.KvmDeviceAttr.ATTR, Uapi.KVM_DEV_VFIO_FILE_ADD)
                    .putLong(Uapi.KvmDeviceAttr.ADDR, user.kernel.addressOf(value));
            assertThat(user.ioctl(fd("kvm-vfio"), Uapi.KVM_SET_DEVICE_ATTR, structure))
                    .isZero();
        }

        /** The device is silent, and another user may have all of it. */
        void checkHost(List<String> order) {
            assertThat(hardware.sendMessage(0)).as("%s", order).isFalse();
            int next = user.device(1);
            assertThat(user.readWord(next, VfioUser.COMMAND)).as("%s", order).isZero();
            assertThat(user.arm(next, MSIX, 0, user.event(), user.event()))
                    .as("both vectors are free after %s", order)
                    .isZero();
        }
    }

    private static List<List<String>> orders(List<String> names) {
        if (names.isEmpty()) {
            return List.of(List.of());
        }
        List<List<String>> orders = new ArrayList<>();
        for (String first : names) {
            List<String> others = new ArrayList<>(names);
            others.remove(first);
            for (List<String> rest : orders(others)) {
                List<String> order = new ArrayList<>(List.of(first));
                order.addAll(rest);
                orders.add(order);
            }
        }
        return orders;
    }

    private static void killInEachOrder(boolean cdev) {
        List<String> names = List.copyOf(new Program(cdev).files.keySet());
        List<List<String>> orders = orders(names);
        assertThat(orders).hasSizeGreaterThan(100);
        for (List<String> order : orders) {
            Program program = new Program(cdev);
            order.forEach(name -> program.user.kernel.close(program.fd(name)));
            program.checkHost(order);
            program.user.close();
        }
    }

    @Test
    void killedUserOfAGroupLeavesTheHostClean() {
        killInEachOrder(false);
    }

    @Test
    void killedUserOfADeviceFileLeavesTheHostClean() {
        killInEachOrder(true);
    }

    /** KVM-VFIO keeps the group, and the device keeps its group: the device goes with the last of them. */
    @Test
    void addedGroupHoldsNoDevice() {
        Program program = new Program(false);
        program.user.kernel.close(program.fd("group"));
        program.user.kernel.close(program.fd("device"));
        assertThat(program.hardware.sendMessage(0)).isFalse();
        assertThat(program.user.open("/dev/vfio/1")).as("KVM-VFIO has it").isEqualTo(refused(Errno.EBUSY));
        program.user.kernel.close(program.fd("kvm-vfio"));
        assertThat(program.user.open("/dev/vfio/1")).isPositive();
        program.user.close();
    }

    /** Closing the file of a device that KVM-VFIO has leaves its interrupts armed. */
    @Test
    void addedDeviceFileStaysArmed() {
        Program program = new Program(true);
        program.user.kernel.close(program.fd("device"));
        program.user.kernel.close(program.fd("iommufd"));
        assertThat(program.hardware.sendMessage(0)).isTrue();
        program.user.kernel.close(program.fd("kvm-vfio"));
        assertThat(program.hardware.sendMessage(0)).isFalse();
        program.user.close();
    }
}
