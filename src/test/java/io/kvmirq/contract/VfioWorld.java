/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.FakePlatformDevice;
import io.kvmirq.testing.RulesSeen;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioGroupStatus;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaMap;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaUnmap;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** A {@link World} whose kernel has the {@link TestDevice}s. For one thread. */
public final class VfioWorld implements AutoCloseable {
    /** A descriptor that is never open. */
    public static final int NOT_OPEN = 100_000;

    public final World world;
    private final Map<TestDevice, FakePciDevice> fakes = new EnumMap<>(TestDevice.class);
    private final List<OpenedDevice> devices = new ArrayList<>();
    private final List<VfioWorld> fakesAlone = new ArrayList<>();
    private @Nullable FakePciDevice behindRootPort;
    private @Nullable FakePciDevice secondEdu;

    private VfioWorld(World world, TestDevice... devices) {
        this.world = world;
        world.fake().ifPresent(fake -> {
            for (TestDevice device : devices) {
                fakes.put(device, device.addTo(fake, device.onFake()));
            }
        });
    }

    private static VfioWorld withAllDevices(World world) {
        return new VfioWorld(world, TestDevice.values());
    }

    /** The kernels to ask, of both architectures. */
    static Stream<VfioWorld> all() {
        return World.ofBothArchitectures().map(VfioWorld::withAllDevices);
    }

    /** The kernels to ask whose devices may have files of their own. */
    static Stream<VfioWorld> withDeviceFiles() {
        return World.withDeviceFiles().map(VfioWorld::withAllDevices);
    }

    /** The kernels to ask whose IOMMU is known. */
    static Stream<VfioWorld> withIommu() {
        return World.withIommu().map(VfioWorld::withAllDevices);
    }

    /** The kernels to ask that run guests of x86. */
    static Stream<VfioWorld> x86() {
        return World.all().map(VfioWorld::withAllDevices);
    }

    /** The kernels to ask of arm64. */
    static Stream<VfioWorld> arm64() {
        return World.arm64().map(VfioWorld::withAllDevices);
    }

    /** The kernels to ask, of both architectures. vfio-pci of a fake one has nointxmask=1. */
    static Stream<VfioWorld> withNointxmask() {
        return World.ofBothArchitectures().map(world -> {
            world.fake().ifPresent(fake -> fake.setNointxmask(true));
            return withAllDevices(world);
        });
    }

    /** A fake kernel that has these devices only, for what no lab can do: no real kernel is asked the same. */
    public static VfioWorld ofFake(String profile, TestDevice... devices) {
        return new VfioWorld(World.fake(profile), devices);
    }

    @Override
    public String toString() {
        return world.toString();
    }

    public KernelBackend kernel() {
        return world.kernel();
    }

    public Libc libc() {
        return world.kernel().libc();
    }

    /** Whether each vector of MSI-X is allocated when it gets its eventfd. The ITS allocates all of them at once. */
    boolean growsMsix() {
        return isSince(6, 5) && !world.isArm64();
    }

    /** Whether an IOMMU of AMD translates for its devices. */
    boolean hasAmdVi() {
        return world.fake().isPresent() ? world.isAmd() : Files.isDirectory(Path.of("/sys/class/iommu/ivhd0"));
    }

    boolean isSince(int major, int minor) {
        return world.isSince(major, minor);
    }

    void closeAll() {
        close();
        if (TestDevice.areAsked()) {
            world.noteRules();
        }
        fakesAlone.forEach(VfioWorld::close);
        fakesAlone.clear();
    }

    /** Closes all files. The refusals of a fake must be explained, whether or not a real kernel was asked the same. */
    @Override
    public void close() {
        closeFiles();
        world.fake().ifPresent(RulesSeen::addRefusals);
    }

    private void closeFiles() {
        devices.stream().filter(device -> device.hardware.isCounting()).forEach(device -> kernel().vfioDeviceReset(
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
        VfioWorld alone = withAllDevices(world.anotherFake());
        fakesAlone.add(alone);
        return alone;
    }

    /** The kernel, which must be a fake. */
    public FakeKernel fake() {
        return world.fake().orElseThrow();
    }

    /** The hardware of a device of a fake kernel. */
    public FakePciDevice hardware(TestDevice device) {
        FakePciDevice hardware = fakes.get(device);
        if (hardware == null) {
            throw new IllegalStateException(this + " is no fake with this device");
        }
        return hardware;
    }

    PciAddress address(TestDevice device) {
        return PciAddress.parse(place(device).address());
    }

    /** Skips, with the reason, where this kernel has no such device. */
    TestDevice.Place place(TestDevice device) {
        if (world.fake().isPresent()) {
            return device.onFake();
        }
        world.kernel();
        assumeTrue(device.onThisMachine().isPresent(), device::isMissing);
        return device.onThisMachine().orElseThrow();
    }

    // Containers and groups

    public int open(String path) {
        return libc().open(Buffers.cString(path), Uapi.O_RDWR | Uapi.O_CLOEXEC);
    }

    public static ByteBuffer number(int value) {
        return Buffers.allocate(Integer.BYTES).putInt(0, value);
    }

    public int ioctl(int fd, long request, ByteBuffer structure) {
        return world.ioctl(fd, request, structure);
    }

    public int ioctl(int fd, long request, long value) {
        return libc().ioctl(fd, request, value);
    }

    /** /dev/vfio/vfio. */
    public int container() {
        return world.own(open("/dev/vfio/vfio"));
    }

    String groupPath(TestDevice device) {
        return "/dev/vfio/" + place(device).group();
    }

    public int group(TestDevice device) {
        String path = groupPath(device);
        return world.own(open(path));
    }

    public int setContainer(int group, int container) {
        return ioctl(group, UapiVfio.VFIO_GROUP_SET_CONTAINER, number(container));
    }

    public int unsetContainer(int group) {
        return ioctl(group, UapiVfio.VFIO_GROUP_UNSET_CONTAINER, 0);
    }

    public int setIommu(int container, int type) {
        return ioctl(container, UapiVfio.VFIO_SET_IOMMU, type);
    }

    public int status(int group) {
        ByteBuffer status = Buffers.allocate(VfioGroupStatus.SIZE).putInt(VfioGroupStatus.ARGSZ, VfioGroupStatus.SIZE);
        assertOk(ioctl(group, UapiVfio.VFIO_GROUP_GET_STATUS, status));
        return status.getInt(VfioGroupStatus.FLAGS);
    }

    /** VFIO_GROUP_GET_DEVICE_FD; a new descriptor is the caller's to close. */
    public int deviceFd(int group, String name) {
        return ioctl(group, UapiVfio.VFIO_GROUP_GET_DEVICE_FD, Buffers.cString(name));
    }

    /** Attaches a group to a new container with the IOMMU driver of type 1, version 2. */
    public int attach(int group) {
        int container = container();
        assertThat(setContainer(group, container)).isZero();
        assertThat(setIommu(container, UapiVfio.VFIO_TYPE1v2_IOMMU)).isZero();
        return container;
    }

    /** Opens a device through its group and a container of its own. */
    public OpenedDevice device(TestDevice device) {
        int group = group(device);
        int container = attach(group);
        return device(device, container, group);
    }

    /** Opens a device of a group that is attached. */
    public OpenedDevice device(TestDevice device, int container, int group) {
        int fd = world.own(deviceFd(group, place(device).address()));
        OpenedDevice opened = new OpenedDevice(this, container, group, fd, hardwareOf(device, fd));
        devices.add(opened);
        return opened;
    }

    /** Opens a second edu, on the interrupt line of the first. Skips, with the reason, where there is none. */
    OpenedDevice secondEdu() {
        if (world.fake().isPresent()) {
            String address = "0000:00:0a.0";
            if (secondEdu == null) {
                secondEdu = fake().pciDevice(address, 10)
                        .onLineOf(hardware(TestDevice.EDU))
                        .msi(1)
                        .add();
            }
            return device(secondEdu, 10, address);
        }
        List<TestDevice.Place> places = TestDevice.EDU.allOnThisMachine();
        assumeTrue(places.size() == 2, "needs two of QEMU's edu on one line: make lab runs this");
        int group = world.own(open("/dev/vfio/" + places.get(1).group()));
        int container = attach(group);
        int fd = world.own(deviceFd(group, places.get(1).address()));
        return new OpenedDevice(this, container, group, fd, hardwareOf(TestDevice.EDU, fd));
    }

    /** Opens the one device behind a root port, a virtio-serial. Skips, with the reason, where there is none. */
    OpenedDevice behindRootPort() {
        if (world.fake().isPresent()) {
            String address = "0000:01:00.0";
            if (behindRootPort == null) {
                behindRootPort = fake().pciDevice(address, 11)
                        .intx()
                        .bar64(4, 0x4000)
                        .express()
                        .add();
            }
            return device(behindRootPort, 11, address);
        }
        Optional<TestDevice.Place> place = TestDevice.SERIAL.allOnThisMachine().stream()
                .filter(found -> PciAddress.parse(found.address()).bus() != 0)
                .findFirst();
        assumeTrue(place.isPresent(), "needs QEMU's virtio-serial behind a root port: make lab runs this");
        int group = world.own(open("/dev/vfio/" + place.get().group()));
        int container = attach(group);
        int fd = world.own(deviceFd(group, place.get().address()));
        return new OpenedDevice(this, container, group, fd, hardwareOf(TestDevice.SERIAL, fd));
    }

    /** Opens a device that a test added to a fake kernel, through its group and a container of its own. */
    public OpenedDevice device(FakePciDevice hardware, int number, String address) {
        return device(Hardware.of(hardware), number, address);
    }

    /** Opens a device of a platform that a test added to a fake kernel; its line is at index 0. */
    public OpenedDevice device(FakePlatformDevice hardware, int number, String name) {
        return device(Hardware.of(hardware), number, name);
    }

    private OpenedDevice device(Hardware hardware, int number, String name) {
        int group = world.own(open("/dev/vfio/" + number));
        int container = attach(group);
        return new OpenedDevice(this, container, group, world.own(deviceFd(group, name)), hardware);
    }

    /** A device whose own file is bound to an iommufd. */
    public OpenedDevice bound(FakePciDevice hardware, int fd, int iommufd) {
        return new OpenedDevice(this, iommufd, -1, fd, Hardware.of(hardware));
    }

    /** A device whose own file is bound to an iommufd. */
    OpenedDevice bound(TestDevice device, int fd, int iommufd) {
        return new OpenedDevice(this, iommufd, -1, fd, hardwareOf(device, fd));
    }

    /** The hardware of the device that is open as this descriptor. */
    Hardware hardwareOf(TestDevice device, int fd) {
        if (world.fake().isPresent()) {
            return Hardware.of(hardware(device));
        }
        Hardware.Registers registers = Hardware.Registers.of(libc(), fd);
        return device == TestDevice.E1000E ? Hardware.e1000e(registers) : Hardware.edu(registers);
    }

    // Mappings

    /** VFIO_IOMMU_MAP_DMA. */
    public int mapDma(int container, int argsz, int flags, long vaddr, long iova, long size) {
        return ioctl(
                container,
                UapiVfio.VFIO_IOMMU_MAP_DMA,
                Structs.of("vfio_iommu_type1_dma_map", argsz, flags, vaddr, iova, size));
    }

    /** Maps memory for reads and writes of the devices. */
    public int mapDma(int container, long vaddr, long iova, long size) {
        int flags = UapiVfio.VFIO_DMA_MAP_FLAG_READ | UapiVfio.VFIO_DMA_MAP_FLAG_WRITE;
        return mapDma(container, VfioIommuType1DmaMap.SIZE, flags, vaddr, iova, size);
    }

    /** VFIO_IOMMU_UNMAP_DMA. Returns the number of bytes that were unmapped, or a negative errno. */
    public long unmapDma(int container, int argsz, int flags, long iova, long size) {
        ByteBuffer unmap = Structs.of("vfio_iommu_type1_dma_unmap", argsz, flags, iova, size);
        int result = ioctl(container, UapiVfio.VFIO_IOMMU_UNMAP_DMA, unmap);
        return result < 0 ? result : unmap.getLong(VfioIommuType1DmaUnmap.LENGTH);
    }

    public long unmapDma(int container, int flags, long iova, long size) {
        return unmapDma(container, VfioIommuType1DmaUnmap.SIZE, flags, iova, size);
    }

    // Eventfds

    public int[] events(int count) {
        int[] events = new int[count];
        for (int i = 0; i < count; i++) {
            events[i] = world.eventfd();
        }
        return events;
    }

    /** The count of an eventfd, taken; 0 if there was none. */
    public long take(int event) {
        return world.drain(event);
    }

    public void signal(int event) {
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
