/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.testing.RulesSeen;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioGroupStatus;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** A {@link World} whose kernel has the {@link TestDevice}s. For one thread. */
public final class VfioWorld {
    /** A descriptor that is never open. */
    static final int NOT_OPEN = 100_000;

    final World world;
    private final Map<TestDevice, FakePciDevice> fakes = new EnumMap<>(TestDevice.class);
    private final List<VfioDevice> devices = new ArrayList<>();
    private final List<VfioWorld> fakesAlone = new ArrayList<>();

    private VfioWorld(World world) {
        this.world = world;
        world.fake().ifPresent(fake -> {
            for (TestDevice device : TestDevice.values()) {
                fakes.put(device, device.addTo(fake, device.onFake()));
            }
        });
    }

    /** The kernels to ask, of both architectures. */
    static Stream<VfioWorld> all() {
        return World.ofBothArchitectures().map(VfioWorld::new);
    }

    /** The kernels to ask whose devices may have files of their own. */
    static Stream<VfioWorld> withDeviceFiles() {
        return World.withDeviceFiles().map(VfioWorld::new);
    }

    /** The kernels to ask that run guests of x86. */
    static Stream<VfioWorld> x86() {
        return World.all().map(VfioWorld::new);
    }

    /** The kernels to ask of arm64. */
    static Stream<VfioWorld> arm64() {
        return World.arm64().map(VfioWorld::new);
    }

    @Override
    public String toString() {
        return world.toString();
    }

    KernelBackend kernel() {
        return world.kernel();
    }

    Libc libc() {
        return world.kernel().libc();
    }

    /** Whether each vector of MSI-X is allocated when it gets its eventfd. The ITS allocates all of them at once. */
    boolean growsMsix() {
        return isSince(6, 5) && !world.isArm64();
    }

    boolean isSince(int major, int minor) {
        return world.isSince(major, minor);
    }

    void closeAll() {
        closeFiles();
        if (TestDevice.areHere()) {
            world.noteRules();
        } else {
            world.fake().ifPresent(RulesSeen::addRefusals);
        }
        fakesAlone.forEach(alone -> {
            alone.closeFiles();
            alone.world.fake().ifPresent(RulesSeen::addRefusals);
        });
        fakesAlone.clear();
    }

    private void closeFiles() {
        devices.stream().filter(device -> device.hardware.isCounting()).forEach(device -> kernel().vfioReset(
                        device.fd));
        devices.clear();
        world.closeFiles();
    }

    /**
     * A fake kernel of its own, for what no lab can do: no real kernel shows the rules that it uses. Skips, with the
     * reason, on a real kernel.
     */
    VfioWorld fakeAlone(String what) {
        assumeTrue(world.fake().isPresent(), () -> "needs a fake kernel: " + what);
        VfioWorld alone = new VfioWorld(world.anotherFake());
        fakesAlone.add(alone);
        return alone;
    }

    /** The kernel, which must be a fake. */
    FakeKernel fake() {
        return world.fake().orElseThrow();
    }

    /** What a device of a fake kernel does. */
    FakePciDevice hardware(TestDevice device) {
        FakePciDevice hardware = fakes.get(device);
        if (hardware == null) {
            throw new IllegalStateException(this + " is no fake");
        }
        return hardware;
    }

    /** Skips, with the reason, where this kernel has no such device. */
    TestDevice.Place place(TestDevice device) {
        if (!fakes.isEmpty()) {
            return device.onFake();
        }
        world.kernel();
        assumeTrue(device.onThisMachine().isPresent(), device::isMissing);
        return device.onThisMachine().orElseThrow();
    }

    // Containers and groups

    int open(String path) {
        return libc().open(Buffers.cString(path), Uapi.O_RDWR | Uapi.O_CLOEXEC);
    }

    static ByteBuffer number(int value) {
        return Buffers.allocate(Integer.BYTES).putInt(0, value);
    }

    int ioctl(int fd, long request, ByteBuffer structure) {
        return libc().ioctl(fd, request, libc().addressOf(structure));
    }

    int ioctl(int fd, long request, long value) {
        return libc().ioctl(fd, request, value);
    }

    /** /dev/vfio/vfio. */
    int container() {
        return world.own(open("/dev/vfio/vfio"));
    }

    String groupPath(TestDevice device) {
        return "/dev/vfio/" + place(device).group();
    }

    int group(TestDevice device) {
        String path = groupPath(device);
        return world.own(open(path));
    }

    int setContainer(int group, int container) {
        return ioctl(group, UapiVfio.VFIO_GROUP_SET_CONTAINER, number(container));
    }

    int unsetContainer(int group) {
        return ioctl(group, UapiVfio.VFIO_GROUP_UNSET_CONTAINER, 0);
    }

    int setIommu(int container, int type) {
        return ioctl(container, UapiVfio.VFIO_SET_IOMMU, type);
    }

    int status(int group) {
        ByteBuffer status = Buffers.allocate(VfioGroupStatus.SIZE).putInt(VfioGroupStatus.ARGSZ, VfioGroupStatus.SIZE);
        assertOk(ioctl(group, UapiVfio.VFIO_GROUP_GET_STATUS, status));
        return status.getInt(VfioGroupStatus.FLAGS);
    }

    /** VFIO_GROUP_GET_DEVICE_FD; a new descriptor is the caller's to close. */
    int deviceFd(int group, String name) {
        return ioctl(group, UapiVfio.VFIO_GROUP_GET_DEVICE_FD, Buffers.cString(name));
    }

    /** Attaches a group to a new container with the IOMMU driver of type 1, version 2. */
    int attach(int group) {
        int container = container();
        assertThat(setContainer(group, container)).isZero();
        assertThat(setIommu(container, UapiVfio.VFIO_TYPE1v2_IOMMU)).isZero();
        return container;
    }

    /** Opens a device through its group and a container of its own. */
    VfioDevice device(TestDevice device) {
        int group = group(device);
        int container = attach(group);
        return device(device, container, group);
    }

    /** Opens a device of a group that is attached. */
    VfioDevice device(TestDevice device, int container, int group) {
        int fd = world.own(deviceFd(group, place(device).address()));
        VfioDevice opened = new VfioDevice(this, container, group, fd, hardwareOf(device, fd));
        devices.add(opened);
        return opened;
    }

    /** A device whose own file is bound to an iommufd. */
    VfioDevice bound(TestDevice device, int fd, int iommufd) {
        return new VfioDevice(this, iommufd, -1, fd, hardwareOf(device, fd));
    }

    /** What the device does that is open as this descriptor. */
    Hardware hardwareOf(TestDevice device, int fd) {
        if (!fakes.isEmpty()) {
            return Hardware.of(hardware(device));
        }
        return device == TestDevice.E1000E ? Hardware.e1000e(libc(), fd) : Hardware.edu(libc(), fd);
    }

    // Eventfds

    int[] events(int count) {
        int[] events = new int[count];
        for (int i = 0; i < count; i++) {
            events[i] = world.eventfd();
        }
        return events;
    }

    /** The count of an eventfd, taken; 0 if there was none. */
    long take(int event) {
        return world.drain(event);
    }

    void signal(int event) {
        assertOk(kernel().eventfdSignal(event, 1));
    }

    /** Waits until an eventfd is signalled, and takes its count. */
    long await(int event) {
        long[] count = {0};
        World.eventually("an eventfd is signalled", () -> {
            count[0] = take(event);
            return count[0] != 0;
        });
        return count[0];
    }
}
