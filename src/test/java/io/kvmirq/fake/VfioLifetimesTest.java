/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.VfioWorld.NOT_OPEN;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.contract.OpenedDevice;
import io.kvmirq.contract.VfioFiles;
import io.kvmirq.contract.VfioWorld;
import io.kvmirq.testing.Orders;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioGroupStatus;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** Devices that the host removes, and users that are killed: their files are closed in any order. */
class VfioLifetimesTest {
    private static final String NAME = "0000:00:02.0";

    @Test
    void removalWaitsForTheLastClose() {
        try (VfioWorld vfio = VfioWorld.ofFake("6.12")) {
            FakePciDevice hardware = vfio.fake().pciDevice(NAME, 1).msix(2).add();
            vfio.fake().pciDevice("0000:00:03.0", 2).add();
            OpenedDevice device = vfio.device(hardware, 1, NAME);
            int group = device.group;
            int[] events = vfio.events(2);
            assertOk(device.arm(REQ, 0, events[0]));
            assertThat(hardware.remove()).isFalse();
            assertThat(vfio.take(events[0])).isEqualTo(1);
            assertThat(hardware.askBack()).as("the host asks every 10 seconds").isTrue();
            assertOk(device.arm(MSIX, 0, events[1])); // all works as before
            device.writeCommand(MASTER);
            assertThat(hardware.sendMessage(0)).isTrue();
            int second = vfio.deviceFd(group, NAME);
            assertOk(second);
            vfio.world.close(device.fd);
            int third = vfio.deviceFd(group, NAME);
            assertThat(third).as("one file is open").isPositive();
            vfio.fake().libc().close(third);
            vfio.fake().libc().close(second);
            assertErrno(Errno.ENODEV, vfio.deviceFd(group, NAME));
            ByteBuffer status = Buffers.allocate(VfioGroupStatus.SIZE).putInt(0, VfioGroupStatus.SIZE);
            assertErrno(Errno.ENODEV, vfio.ioctl(group, UapiVfio.VFIO_GROUP_GET_STATUS, status));
            assertErrno(Errno.EINVAL, vfio.unsetContainer(group)); // the container is gone
            assertErrno(Errno.EBADF, vfio.setContainer(group, NOT_OPEN));
            assertErrno(Errno.ENODEV, vfio.setContainer(group, vfio.container()));
            vfio.world.close(group);
            assertErrno(Errno.ENOENT, vfio.open("/dev/vfio/1"));
            assertThat(vfio.fake().hostFiles().list("sys/bus/pci/devices")).containsExactly("0000:00:03.0");
            vfio.fake().pciDevice(NAME, 1).add();
            assertOk(vfio.ioctl(vfio.open("/dev/vfio/1"), UapiVfio.VFIO_GROUP_GET_STATUS, status));
        }
    }

    @Test
    void unusedDeviceIsRemovedAtOnce() {
        try (VfioWorld vfio = VfioWorld.ofFake("7.1,cdev")) {
            FakeKernel kernel = vfio.fake();
            FakePciDevice hardware = kernel.pciDevice(NAME, 1).add();
            int group = vfio.open("/dev/vfio/1");
            int unbound = vfio.open("/dev/vfio/devices/vfio0");
            kernel.limitDescriptors(unbound + 1);
            assertErrno(Errno.EMFILE, vfio.open("/dev/vfio/devices/vfio0"));
            kernel.limitDescriptors(100);
            assertThat(hardware.remove()).as("held by a file that is not bound").isFalse();
            kernel.libc().close(unbound);
            assertErrno(Errno.ENOENT, vfio.open("/dev/vfio/devices/vfio0"));
            assertErrno(Errno.ENODEV, vfio.deviceFd(group, NAME));
            FakePciDevice other = kernel.pciDevice(NAME, 1).add();
            assertThat(other.remove()).isTrue();
        }
    }

    /** A user of one device of a host with two interrupt vectors, who can be killed. */
    private static final class Program implements AutoCloseable {
        final VfioWorld vfio;
        final FakePciDevice hardware;
        final Map<String, Integer> files = new TreeMap<>();

        Program(boolean cdev) {
            vfio = VfioWorld.ofFake(cdev ? "7.1,cdev" : "7.1");
            hardware = vfio.fake().pciDevice(NAME, 1).msix(2).add();
            vfio.fake().limitVectors(2);
            KernelBackend kernel = vfio.kernel();
            files.put("vm", vfio.world.fullVm());
            files.put("kvm-vfio", kernel.deviceCreate(fd("vm"), Uapi.KVM_DEV_TYPE_VFIO));
            OpenedDevice device = cdev ? openFile() : openThroughGroup();
            files.put("eventfd", vfio.world.eventfd());
            assertOk(device.arm(MSIX, 0, fd("eventfd"), fd("eventfd")));
            device.writeCommand(MASTER);
            assertOk(kernel.irqfdAssign(fd("vm"), fd("eventfd"), 24));
        }

        private OpenedDevice openFile() {
            VfioFiles devices = new VfioFiles(vfio);
            files.put("device", vfio.open("/dev/vfio/devices/vfio0"));
            files.put("iommufd", devices.iommufd());
            assertOk(vfio.kernel().deviceVfioAdd(fd("kvm-vfio"), fd("device")));
            assertOk(devices.bind(fd("device"), fd("iommufd")));
            assertOk(devices.attach(fd("device"), devices.space(fd("iommufd"))));
            return vfio.bound(hardware, fd("device"), fd("iommufd"));
        }

        private OpenedDevice openThroughGroup() {
            OpenedDevice device = vfio.device(hardware, 1, NAME);
            files.put("container", device.container);
            files.put("group", device.group);
            files.put("device", device.fd);
            assertOk(vfio.kernel().deviceVfioAdd(fd("kvm-vfio"), device.group));
            return device;
        }

        int fd(String name) {
            return Objects.requireNonNull(files.get(name));
        }

        void kill(String... names) {
            for (String name : names) {
                vfio.fake().libc().close(fd(name));
            }
        }

        /** The device is silent, and another user may have all of it. Only its memory is on. */
        void checkHost(List<String> order) {
            assertThat(hardware.sendMessage(0)).as("%s", order).isFalse();
            OpenedDevice next = vfio.device(hardware, 1, NAME);
            assertThat(next.readConfig(OpenedDevice.COMMAND)).as("%s", order).isEqualTo(2);
            assertThat(next.arm(MSIX, 0, vfio.events(2)))
                    .as("both vectors are free after %s", order)
                    .isZero();
        }

        @Override
        public void close() {
            vfio.close();
        }
    }

    private static void killInEachOrder(boolean cdev) {
        List<String> names = List.copyOf(new Program(cdev).files.keySet());
        List<List<String>> orders = Orders.of(names);
        assertThat(orders).hasSizeGreaterThan(100);
        for (List<String> order : orders) {
            try (Program program = new Program(cdev)) {
                order.forEach(name -> program.kill(name));
                program.checkHost(order);
            }
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
        try (Program program = new Program(false)) {
            program.kill("group", "device");
            assertThat(program.hardware.sendMessage(0)).isFalse();
            assertErrno(Errno.EBUSY, program.vfio.open("/dev/vfio/1")); // KVM-VFIO has it
            program.kill("kvm-vfio");
            assertOk(program.vfio.open("/dev/vfio/1"));
        }
    }

    /** Closing the file of a device that KVM-VFIO has leaves its interrupts armed. */
    @Test
    void addedDeviceFileStaysArmed() {
        try (Program program = new Program(true)) {
            program.kill("device", "iommufd");
            assertThat(program.hardware.sendMessage(0)).isTrue();
            program.kill("kvm-vfio");
            assertThat(program.hardware.sendMessage(0)).isFalse();
        }
    }
}
