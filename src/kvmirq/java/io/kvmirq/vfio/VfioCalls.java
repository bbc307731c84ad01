/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.DeviceName;
import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.Condition;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiIommufd;
import io.kvmirq.uapi.UapiIommufd.IommuDestroy;
import io.kvmirq.uapi.UapiIommufd.IommuIoasAlloc;
import io.kvmirq.uapi.UapiIommufd.IommuIoasIovaRanges;
import io.kvmirq.uapi.UapiIommufd.IommuIoasMap;
import io.kvmirq.uapi.UapiIommufd.IommuIoasUnmap;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceAttachIommufdPt;
import io.kvmirq.uapi.UapiVfio.VfioDeviceBindIommufd;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaMap;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaUnmap;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1Info;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Supplier;

/** Opens VFIO files and makes the calls on groups, containers and address spaces. Thread-safe. */
final class VfioCalls extends Calls {
    /** The argument size of VFIO_DEVICE_BIND_IOMMUFD before 6.17, which newer kernels also accept. */
    private static final int BIND_SIZE = 16;
    /** The argument size of VFIO_DEVICE_ATTACH_IOMMUFD_PT before 6.15, which newer kernels also accept. */
    private static final int ATTACH_SIZE = 12;

    private static final int EINVAL = -Errno.EINVAL.number();
    private static final int EMSGSIZE = -Errno.EMSGSIZE.number();
    /** The size of struct iommu_iova_range: the first and the last address. */
    private static final int RANGE = 16;

    private static final int FEW_RANGES = 16;

    VfioCalls(Kernel kernel) {
        super(kernel);
    }

    HostDevice device(DeviceName name) {
        Objects.requireNonNull(name, "name is null");
        return new HostDevice(() -> libc().hostFiles(), name);
    }

    /** @param why the cause, if more is known than the errno shows */
    private KernelException failure(int result, KernelCall call, String operands, Supplier<Optional<String>> why) {
        return why.get()
                .map(cause -> new KernelException(call.label(), operands, Errno.ofResult(result), cause))
                .orElseGet(() -> failure(result, call, Set.<Condition>of(), () -> operands));
    }

    private KernelException notPermitted(int result, KernelCall call, String operands, Supplier<Optional<String>> why) {
        return failure(result, call, operands, result == -Errno.EPERM.number() ? why : Optional::empty);
    }

    // Files

    /** @param device the device that the file belongs to, if any */
    <T> T open(KernelCall call, String kind, String path, Optional<HostDevice> device, Function<Fd, T> owner) {
        ByteBuffer text = Buffers.cString(path);
        return made(
                kind,
                () -> libc().open(text, Uapi.O_RDWR | Uapi.O_CLOEXEC),
                result -> notOpened(result, call, path, device),
                owner);
    }

    private KernelException notOpened(int result, KernelCall call, String path, Optional<HostDevice> device) {
        if (result == -Errno.ENOENT.number()) {
            return failure(result, call, path, () -> device.flatMap(found -> found.notThere(path)));
        }
        boolean gone = result == -Errno.ENODEV.number();
        return failure(result, call, path, () -> device.filter(found -> gone).flatMap(HostDevice::notBound));
    }

    <T> T adoptDevice(DeviceName name, int number, Ownership ownership, String expected, Function<Fd, T> owner) {
        return adopted("vfio device " + name, number, ownership, owner, expected, FileKind.VFIO_DEVICE.label());
    }

    <T> T adoptGroup(int number, Ownership ownership, Function<Fd, T> owner) {
        return adopted(
                "vfio group", number, ownership, owner, "a VFIO group, /dev/vfio/N", FileKind.VFIO_GROUP.label());
    }

    /** Adopts a container, or an iommufd, which the kernel accepts as a container. */
    <T> T adoptContainer(int number, Ownership ownership, Function<Fd, T> owner) {
        String expected = "a VFIO container, /dev/vfio/vfio";
        return adopted(
                "vfio container",
                number,
                ownership,
                owner,
                expected,
                FileKind.VFIO_CONTAINER.label(),
                FileKind.IOMMUFD.label());
    }

    <T> T adoptIommufd(int number, Ownership ownership, Function<Fd, T> owner) {
        return adopted("iommufd", number, ownership, owner, "an iommufd, /dev/iommu", FileKind.IOMMUFD.label());
    }

    void closeFile(Fd fd) {
        close(fd);
    }

    // Containers and groups

    void setContainer(Fd group, Fd container, Supplier<Optional<String>> whyNotPermitted) {
        int number = begin(container);
        try {
            ByteBuffer pointed = Buffers.allocate(Integer.BYTES).putInt(0, number);
            int result = ioctl(group, UapiVfio.VFIO_GROUP_SET_CONTAINER, pointed);
            if (result < 0) {
                throw notPermitted(result, KernelCall.VFIO_CONTAINER, group + " " + container, whyNotPermitted);
            }
        } finally {
            end(container);
        }
    }

    private int ioctl(Fd file, long request, ByteBuffer argument) {
        return call(file, raw -> libc().ioctl(raw, request, argument));
    }

    void unsetContainer(Fd group) {
        call(group, raw -> libc().ioctl(raw, UapiVfio.VFIO_GROUP_UNSET_CONTAINER, 0));
    }

    /** @param maybeSet whether EINVAL may only mean that the container already has its type */
    void setIommu(Fd container, boolean maybeSet) {
        int result = call(container, raw -> libc().ioctl(raw, UapiVfio.VFIO_SET_IOMMU, UapiVfio.VFIO_TYPE1v2_IOMMU));
        if (result != EINVAL || !maybeSet) {
            check(result, KernelCall.VFIO_IOMMU, Set.of(), () -> container + " type=1v2");
        }
    }

    /** Reads struct vfio_iommu_type1_info and capabilities. The first call gets their length, the second reads them. */
    ByteBuffer iommuInfo(Fd container) {
        int size = VfioIommuType1Info.SIZE;
        while (true) {
            ByteBuffer info = Buffers.allocate(size).putInt(VfioIommuType1Info.ARGSZ, size);
            check(
                    ioctl(container, UapiVfio.VFIO_IOMMU_GET_INFO, info),
                    KernelCall.VFIO_IOMMU_INFO,
                    Set.of(),
                    container::toString);
            int whole = info.getInt(VfioIommuType1Info.ARGSZ);
            if (whole <= size) {
                return info;
            }
            size = whole;
        }
    }

    boolean hasExtension(Fd container, int extension) {
        return check(
                        call(container, raw -> libc().ioctl(raw, UapiVfio.VFIO_CHECK_EXTENSION, extension)),
                        KernelCall.VFIO_IOMMU,
                        Set.of(),
                        container::toString)
                > 0;
    }

    <T> T openDevice(Fd group, DeviceName name, Supplier<Optional<String>> why, Function<Fd, T> owner) {
        ByteBuffer text = Buffers.cString(name.toString());
        return made(
                "vfio device " + name,
                () -> ioctl(group, UapiVfio.VFIO_GROUP_GET_DEVICE_FD, text),
                result -> {
                    boolean absent = result == -Errno.ENODEV.number();
                    return failure(
                            result,
                            KernelCall.VFIO_DEVICE_FD,
                            name + " " + group,
                            () -> absent ? why.get() : Optional.empty());
                },
                owner);
    }

    // iommufd

    void bind(Fd device, Fd iommufd, Supplier<Optional<String>> whyNotPermitted) {
        int number = begin(iommufd);
        try {
            ByteBuffer bind = Buffers.allocate(VfioDeviceBindIommufd.SIZE)
                    .putInt(VfioDeviceBindIommufd.ARGSZ, BIND_SIZE)
                    .putInt(VfioDeviceBindIommufd.IOMMUFD, number);
            int result = ioctl(device, UapiVfio.VFIO_DEVICE_BIND_IOMMUFD, bind);
            if (result < 0) {
                throw notPermitted(result, KernelCall.VFIO_BIND, device + " " + iommufd, whyNotPermitted);
            }
        } finally {
            end(iommufd);
        }
    }

    void attach(Fd device, int space) {
        ByteBuffer attach = Buffers.allocate(VfioDeviceAttachIommufdPt.SIZE)
                .putInt(VfioDeviceAttachIommufdPt.ARGSZ, ATTACH_SIZE)
                .putInt(VfioDeviceAttachIommufdPt.PT_ID, space);
        check(
                ioctl(device, UapiVfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach),
                KernelCall.VFIO_ATTACH,
                Set.of(),
                () -> device + " ioas=" + space);
    }

    List<DmaRange> rangesOfSpace(Fd iommufd, int space) {
        int room = FEW_RANGES;
        while (true) {
            ByteBuffer ranges = Buffers.allocate(room * RANGE);
            ByteBuffer asked = Buffers.allocate(IommuIoasIovaRanges.SIZE)
                    .putInt(IommuIoasIovaRanges.LENGTH_OF_ARGUMENT, IommuIoasIovaRanges.SIZE)
                    .putInt(IommuIoasIovaRanges.IOAS_ID, space)
                    .putInt(IommuIoasIovaRanges.NUM_IOVAS, room)
                    .putLong(IommuIoasIovaRanges.ALLOWED_IOVAS, libc().addressOf(ranges));
            int result = ioctl(iommufd, UapiIommufd.IOMMU_IOAS_IOVA_RANGES, asked);
            int count = asked.getInt(IommuIoasIovaRanges.NUM_IOVAS);
            if (result != EMSGSIZE || count <= room) {
                check(result, KernelCall.IOMMU_REQUEST, Set.of(), () -> iommufd + " ioas=" + space);
                List<DmaRange> found = new ArrayList<>();
                for (int at = 0; at < count * RANGE; at += RANGE) {
                    found.add(new DmaRange(ranges.getLong(at), ranges.getLong(at + Long.BYTES)));
                }
                return List.copyOf(found);
            }
            room = count;
        }
    }

    /** @param destroying receives the new space's number, as an argument of {@link #destroySpace} */
    int createSpace(Fd iommufd, ByteBuffer destroying) {
        ByteBuffer space =
                Buffers.allocate(IommuIoasAlloc.SIZE).putInt(IommuIoasAlloc.LENGTH_OF_ARGUMENT, IommuIoasAlloc.SIZE);
        int result = ioctl(iommufd, UapiIommufd.IOMMU_IOAS_ALLOC, space);
        if (result < 0) {
            throw failure(result, KernelCall.IOAS_CREATE, Set.of(), iommufd::toString);
        }
        int number = space.getInt(IommuIoasAlloc.OUT_IOAS_ID);
        destroying.putInt(IommuDestroy.ID, number);
        return number;
    }

    /** The argument of {@link #destroySpace}, without the space's number. */
    static ByteBuffer destroying() {
        return Buffers.allocate(IommuDestroy.SIZE).putInt(IommuDestroy.LENGTH_OF_ARGUMENT, IommuDestroy.SIZE);
    }

    /** Does not allocate. */
    void destroySpace(Fd.Lease iommufd, ByteBuffer destroy) {
        libc().ioctl(number(iommufd), UapiIommufd.IOMMU_DESTROY, destroy);
    }

    // DMA. A lease keeps the file open, so that memory can be unmapped after the file's owner is closed

    void mapInContainer(Fd.Lease container, long iova, Mapping memory, boolean writable) {
        ByteBuffer map = Buffers.allocate(VfioIommuType1DmaMap.SIZE)
                .putInt(VfioIommuType1DmaMap.ARGSZ, VfioIommuType1DmaMap.SIZE)
                .putInt(
                        VfioIommuType1DmaMap.FLAGS,
                        UapiVfio.VFIO_DMA_MAP_FLAG_READ | (writable ? UapiVfio.VFIO_DMA_MAP_FLAG_WRITE : 0))
                .putLong(VfioIommuType1DmaMap.IOVA, iova)
                .putLong(VfioIommuType1DmaMap.LENGTH, memory.length());
        int address = VfioIommuType1DmaMap.VADDR;
        map(container, KernelCall.VFIO_MAP, UapiVfio.VFIO_IOMMU_MAP_DMA, map, address, memory, range(iova, memory));
    }

    private void map(
            Fd.Lease file,
            KernelCall call,
            long request,
            ByteBuffer map,
            int addressAt,
            Mapping memory,
            Supplier<String> operands) {
        withAddress(memory, address -> {
            int result = libc().ioctl(number(file), request, map.putLong(addressAt, address));
            if (result < 0) {
                boolean pinning = result == -Errno.ENOMEM.number();
                String counter = call == KernelCall.VFIO_MAP ? "VmLck" : "VmPin";
                throw failure(
                        result,
                        call,
                        operands.get(),
                        () -> pinning ? LockLimit.why(libc().hostFiles(), counter, memory.length()) : Optional.empty());
            }
        });
    }

    private static Supplier<String> range(long iova, Mapping memory) {
        return () -> "iova=0x" + Long.toHexString(iova) + " size=0x" + Long.toHexString(memory.length());
    }

    /** Does not allocate. The kernel writes into {@code unmap}, which has the size of the structure. */
    void unmapInContainer(Fd.Lease container, ByteBuffer unmap, long iova, long length) {
        unmap.putInt(VfioIommuType1DmaUnmap.ARGSZ, VfioIommuType1DmaUnmap.SIZE)
                .putLong(VfioIommuType1DmaUnmap.IOVA, iova)
                .putLong(VfioIommuType1DmaUnmap.LENGTH, length);
        libc().ioctl(number(container), UapiVfio.VFIO_IOMMU_UNMAP_DMA, unmap);
    }

    void mapInSpace(Fd.Lease iommufd, int space, long iova, Mapping memory, boolean writable) {
        ByteBuffer map = Buffers.allocate(IommuIoasMap.SIZE)
                .putInt(IommuIoasMap.LENGTH_OF_ARGUMENT, IommuIoasMap.SIZE)
                .putInt(
                        IommuIoasMap.FLAGS,
                        UapiIommufd.IOMMU_IOAS_MAP_FIXED_IOVA
                                | UapiIommufd.IOMMU_IOAS_MAP_READABLE
                                | (writable ? UapiIommufd.IOMMU_IOAS_MAP_WRITEABLE : 0))
                .putInt(IommuIoasMap.IOAS_ID, space)
                .putLong(IommuIoasMap.LENGTH, memory.length())
                .putLong(IommuIoasMap.IOVA, iova);
        Supplier<String> operands =
                () -> "ioas=" + space + " " + range(iova, memory).get();
        map(iommufd, KernelCall.IOAS_MAP, UapiIommufd.IOMMU_IOAS_MAP, map, IommuIoasMap.USER_VA, memory, operands);
    }

    /** Does not allocate. The kernel writes into {@code unmap}, which has the size of the structure. */
    void unmapInSpace(Fd.Lease iommufd, ByteBuffer unmap, int space, long iova, long length) {
        unmap.putInt(IommuIoasUnmap.LENGTH_OF_ARGUMENT, IommuIoasUnmap.SIZE)
                .putInt(IommuIoasUnmap.IOAS_ID, space)
                .putLong(IommuIoasUnmap.IOVA, iova)
                .putLong(IommuIoasUnmap.LENGTH, length);
        libc().ioctl(number(iommufd), UapiIommufd.IOMMU_IOAS_UNMAP, unmap);
    }
}
