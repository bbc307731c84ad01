/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.contract.TestDevice;
import io.kvmirq.contract.TestDevice.Place;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaMap;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaUnmap;
import io.kvmirq.uapi.UapiVfio.VfioIrqSet;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** The calls of VFIO on one of the kernels compared. Both have a device at the same place. */
final class VfioSide {
    private static final int ROOM = 256;
    private static final int INFO = 32;

    /** The configuration space as a whole, in place of a capability. */
    static final long WHOLE_SPACE = -1;
    /** The header, in place of a capability. */
    static final long HEADER = 0;

    private static final int REGION_SHIFT = 40;
    private static final int FIRST_CAPABILITY = 0x34;

    private final Libc libc;
    private final ByteBuffer memory = Buffers.allocate(ROOM);
    private final long address;
    private final long arena;
    private final List<Place> places;

    VfioSide(Libc libc, long arena, List<Place> places) {
        this.libc = libc;
        this.address = libc.addressOf(memory);
        this.arena = arena;
        this.places = places;
    }

    /** The devices of a search, in the order of their numbers: from {@link Differential#RESETTABLE} on they have a reset. */
    static List<TestDevice> devices() {
        return List.of(TestDevice.EDU, TestDevice.SERIAL, TestDevice.E1000E, TestDevice.NVME);
    }

    private Place place(Call call, int at) {
        return places.get(call.intAt(at));
    }

    /** Makes a new descriptor. */
    int open(Call call) {
        return switch (call.operation()) {
            case OPEN_CONTAINER -> open("/dev/vfio/vfio");
            case OPEN_GROUP -> open("/dev/vfio/" + place(call, 1).group());
            default ->
                libc.ioctl(
                        call.intAt(1),
                        UapiVfio.VFIO_GROUP_GET_DEVICE_FD,
                        libc.addressOf(Buffers.cString(place(call, 2).address())));
        };
    }

    private int open(String path) {
        return libc.open(Buffers.cString(path), Uapi.O_RDWR | Uapi.O_CLOEXEC);
    }

    Answer make(int fd, Call call) {
        for (int i = 0; i < ROOM; i++) {
            memory.put(i, (byte) 0);
        }
        return switch (call.operation()) {
            case SET_CONTAINER -> {
                memory.putInt(0, call.intAt(1));
                yield ask(fd, UapiVfio.VFIO_GROUP_SET_CONTAINER, 0);
            }
            case UNSET_CONTAINER -> Answer.of(libc.ioctl(fd, UapiVfio.VFIO_GROUP_UNSET_CONTAINER, 0));
            case SET_IOMMU -> Answer.of(libc.ioctl(fd, UapiVfio.VFIO_SET_IOMMU, call.at(1)));
            case GROUP_STATUS -> {
                memory.putInt(0, UapiVfio.VfioGroupStatus.SIZE);
                yield ask(fd, UapiVfio.VFIO_GROUP_GET_STATUS, UapiVfio.VfioGroupStatus.SIZE);
            }
            case DEVICE_INFO -> info(fd, UapiVfio.VFIO_DEVICE_GET_INFO, call.intAt(1), 0);
            case REGION_INFO -> info(fd, UapiVfio.VFIO_DEVICE_GET_REGION_INFO, call.intAt(1), call.intAt(2));
            case IRQ_INFO -> info(fd, UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, call.intAt(1), call.intAt(2));
            case RESET -> Answer.of(libc.ioctl(fd, UapiVfio.VFIO_DEVICE_RESET, 0));
            case SET_IRQS -> setIrqs(fd, call);
            case MAP_DMA -> map(fd, call);
            case UNMAP_DMA -> unmap(fd, call);
            case HOT_RESET_INFO -> {
                memory.putInt(0, call.intAt(1));
                yield ask(fd, UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, INFO);
            }
            case HOT_RESET -> hotReset(fd, call);
            case VFIO_EXTENSION -> Answer.of(libc.ioctl(fd, UapiVfio.VFIO_CHECK_EXTENSION, call.at(1)));
            case IOMMU_INFO -> iommuInfo(fd, call);
            default -> body(fd, call);
        };
    }

    private Answer body(int fd, Call call) {
        return switch (call.operation()) {
            case READ_CONFIG -> readConfig(fd, call);
            case WRITE_CONFIG -> {
                long at = configAt(fd, call);
                memory.putLong(0, call.at(4));
                yield Answer.of(at < 0 ? at : libc.pwrite(fd, address, call.at(3), at));
            }
            case READ_REGION -> {
                long read = libc.pread(fd, address, call.at(3), offset(call.at(1)) + call.at(2));
                yield call.at(4) == 0 ? Answer.of(read) : Answer.of(read, memory, ROOM);
            }
            case WRITE_REGION -> Answer.of(libc.pwrite(fd, address, call.at(3), offset(call.at(1)) + call.at(2)));
            case READ_FILE -> Answer.of(libc.read(fd, address, call.at(1)));
            case MAP_FILE -> mapFile(fd, call);
            default -> throw new IllegalArgumentException(call.toString());
        };
    }

    private Answer ask(int fd, long request, int output) {
        return Answer.of(libc.ioctl(fd, request, address), memory, output);
    }

    private Answer info(int fd, long request, int argsz, int index) {
        memory.putInt(0, argsz).putInt(UapiVfio.VfioIrqInfo.INDEX, index);
        return ask(fd, request, INFO);
    }

    private Answer setIrqs(int fd, Call call) {
        int flags = call.intAt(2);
        boolean eventfds = (flags & UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD) != 0;
        int width = eventfds ? Integer.BYTES : 1;
        int numbers = call.arguments().size() - Operation.DATA_AT;
        int argsz = VfioIrqSet.SIZE + numbers * width + call.intAt(5);
        Structs.put(memory, 0, "vfio_irq_set", argsz, flags, call.at(1), call.at(3), call.at(4));
        for (int i = 0; i < numbers; i++) {
            int at = VfioIrqSet.DATA + i * width;
            if (eventfds) {
                memory.putInt(at, call.intAt(Operation.DATA_AT + i));
            } else {
                memory.put(at, (byte) call.intAt(Operation.DATA_AT + i));
            }
        }
        return ask(fd, UapiVfio.VFIO_DEVICE_SET_IRQS, 0);
    }

    private Answer map(int fd, Call call) {
        long user = call.at(4) == Side.NOWHERE ? Side.NOWHERE : arena + call.at(4);
        int size = VfioIommuType1DmaMap.SIZE;
        Structs.put(memory, 0, "vfio_iommu_type1_dma_map", size, call.at(1), user, call.at(2), call.at(3));
        return ask(fd, UapiVfio.VFIO_IOMMU_MAP_DMA, 0);
    }

    private Answer unmap(int fd, Call call) {
        int size = VfioIommuType1DmaUnmap.SIZE;
        Structs.put(memory, 0, "vfio_iommu_type1_dma_unmap", size, call.at(1), call.at(2), call.at(3));
        return ask(fd, UapiVfio.VFIO_IOMMU_UNMAP_DMA, VfioIommuType1DmaUnmap.SIZE);
    }

    // Regions

    private static long offset(long region) {
        return region << REGION_SHIFT;
    }

    private int config(int fd, int at, int width) {
        memory.putInt(0, 0);
        long read = libc.pread(fd, address, width, offset(UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX) + at);
        return read == width ? memory.getInt(0) : 0;
    }

    /** Where a register of a capability is, which differs between kernels; or a negative errno. */
    private long configAt(int fd, Call call) {
        long capability = call.at(1);
        long base = offset(UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX) + call.at(2);
        if (capability == WHOLE_SPACE || capability == HEADER) {
            return base;
        }
        int at = config(fd, FIRST_CAPABILITY, 1);
        for (int steps = 0; at != 0 && steps < ROOM; steps++) {
            int header = config(fd, at, Integer.BYTES);
            if ((header & 0xff) == capability) {
                return base + at;
            }
            at = header >>> Byte.SIZE & 0xff;
        }
        return -Errno.ENOENT.number();
    }

    private Answer readConfig(int fd, Call call) {
        long at = configAt(fd, call);
        memory.putLong(0, 0);
        long read = at < 0 ? at : libc.pread(fd, address, call.at(3), at);
        memory.putLong(0, memory.getLong(0) & call.at(4));
        return Answer.of(read, memory, Long.BYTES);
    }

    private Answer mapFile(int fd, Call call) {
        long mapped = libc.mmap(
                call.at(3), Uapi.PROT_READ | Uapi.PROT_WRITE, call.intAt(4), fd, offset(call.at(1)) + call.at(2));
        if (mapped > 0) {
            libc.munmap(mapped, call.at(3));
        }
        return Answer.of(Math.min(mapped, 0));
    }

    /** Whether the fake knows what the IOMMU here translates: one of AMD, before its page tables told their width. */
    static boolean isIommuKnown() {
        return hasAmdVi() && !Machine.isAtLeast(Machine.kernelRelease(), 6, 15);
    }

    /** A host with a GICv2 remaps no interrupts, and its IOMMU is refused. */
    static boolean mayUseDevices() {
        return !Machine.isGicV2();
    }

    static boolean hasAmdVi() {
        return Files.isDirectory(Path.of("/sys/class/iommu/ivhd0"));
    }

    /** All of it, or of an IOMMU that is not known how many mappings are left. */
    private Answer iommuInfo(int fd, Call call) {
        memory.putInt(0, call.intAt(1));
        int result = libc.ioctl(fd, UapiVfio.VFIO_IOMMU_GET_INFO, address);
        if (isIommuKnown()) {
            return Answer.of(result, memory, ROOM);
        }
        int left = 0;
        for (int at = memory.getInt(UapiVfio.VfioIommuType1Info.CAP_OFFSET);
                at != 0;
                at = memory.getInt(at + UapiVfio.VfioInfoCapHeader.NEXT)) {
            if (memory.getShort(at) == UapiVfio.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) {
                left = memory.getInt(at + UapiVfio.VfioIommuType1InfoDmaAvail.AVAIL);
            }
        }
        memory.putInt(0, left);
        return Answer.of(result, memory, Long.BYTES);
    }

    private Answer hotReset(int fd, Call call) {
        int descriptors = call.arguments().size() - Operation.GROUPS_AT;
        Structs.put(memory, 0, "vfio_pci_hot_reset", call.at(1), call.at(2), call.at(3));
        for (int i = 0; i < descriptors; i++) {
            memory.putInt(UapiVfio.VfioPciHotReset.GROUP_FDS + i * Integer.BYTES, call.intAt(Operation.GROUPS_AT + i));
        }
        return ask(fd, UapiVfio.VFIO_DEVICE_PCI_HOT_RESET, 0);
    }
}
