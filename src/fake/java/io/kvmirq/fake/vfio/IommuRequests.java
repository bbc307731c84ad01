/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.IommufdAnswer;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.Requests;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiIommufd;
import io.kvmirq.uapi.UapiIommufd.IommuDestroy;
import io.kvmirq.uapi.UapiIommufd.IommuIoasAlloc;
import io.kvmirq.uapi.UapiIommufd.IommuIoasIovaRanges;
import io.kvmirq.uapi.UapiIommufd.IommuIoasMap;
import io.kvmirq.uapi.UapiIommufd.IommuIoasUnmap;
import io.kvmirq.uapi.UapiTable;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.function.ToIntFunction;
import org.jspecify.annotations.Nullable;

/** Requests of iommufd, without those of containers. Source: drivers/iommu/iommufd/main.c, ioas.c. */
final class IommuRequests {
    private static final int NUMBER_MASK = 0xff;
    private static final int FIRST = (int) UapiIommufd.IOMMU_DESTROY & NUMBER_MASK;
    /** The last requests: IOMMU_FAULT_QUEUE_ALLOC in 6.12, later IOMMU_HW_QUEUE_ALLOC. */
    private static final int LAST_OF_6_12 = (int) UapiIommufd.IOMMU_FAULT_QUEUE_ALLOC & NUMBER_MASK;

    private static final int LAST = (int) UapiIommufd.IOMMU_HW_QUEUE_ALLOC & NUMBER_MASK;

    private static final int MAP_FLAGS = UapiIommufd.IOMMU_IOAS_MAP_FIXED_IOVA
            | UapiIommufd.IOMMU_IOAS_MAP_WRITEABLE
            | UapiIommufd.IOMMU_IOAS_MAP_READABLE;
    private static final int MAP_RESERVED = 12;
    private static final int RANGE_SIZE = 16;

    private static final Requests<IommuFile> OWN = new Requests<IommuFile>(
                    VfioAnswer.VFIO_UNKNOWN_REQUEST, IommuRequests::notModelled)
            .value(
                    UapiIommufd.IOMMU_DESTROY,
                    command(IommuDestroy.SIZE, (file, destroy, none) -> file.destroy(destroy.getInt(IommuDestroy.ID))))
            .value(UapiIommufd.IOMMU_IOAS_ALLOC, command(IommuIoasAlloc.SIZE, IommuRequests::alloc))
            .value(UapiIommufd.IOMMU_IOAS_IOVA_RANGES, command(IommuIoasIovaRanges.SIZE, IommuRequests::ranges))
            .value(UapiIommufd.IOMMU_IOAS_MAP, command(IommuIoasMap.SIZE, IommuRequests::map))
            .value(UapiIommufd.IOMMU_IOAS_UNMAP, command(IommuIoasUnmap.SIZE, IommuRequests::unmap));

    private IommuRequests() {}

    static int answer(IommuFile file, long request, long argument) {
        int number = (int) request & NUMBER_MASK;
        int last = file.host().build().isSince(6, 18) ? LAST : LAST_OF_6_12;
        return number < FIRST || number > last
                ? OWN.refuse(file, request)
                : file.host().copied(argument, Integer.BYTES, size -> OWN.answer(file, request, argument));
    }

    private static @Nullable String notModelled(long request) {
        UapiTable.Request known = UapiTable.find(request, UapiTable.FileKind.IOMMUFD);
        UapiTable.Request ofContainers = UapiTable.find(request, UapiTable.FileKind.VFIO_CONTAINER);
        known = known == null ? ofContainers : known;
        return known == null ? null : known.name();
    }

    /** A request whose structure begins with its size. */
    private static Requests.OnValue<IommuFile> command(int size, Requests.OnHeader<IommuFile> command) {
        return (file, address) -> sized(
                file.host(),
                address,
                size,
                size,
                IommufdAnswer.IOMMUFD_SIZE,
                structure -> command.answer(file, structure, address));
    }

    /** {@code copy_struct_from_user()}: {@code tooShort} refuses less than {@code min}; missing bytes are 0. */
    static int sized(
            KernelOfFile host, long address, int min, int size, Answer tooShort, ToIntFunction<ByteBuffer> call) {
        return host.copied(address, Integer.BYTES, first -> {
            long given = Integer.toUnsignedLong(first.getInt(0));
            if (given < min) {
                return host.refuse(tooShort);
            }
            if (given > size) {
                throw new NotModelledException("a structure of " + given + " bytes, of which it knows " + size);
            }
            return host.copied(
                    address,
                    (int) given,
                    structure -> call.applyAsInt(
                            ByteBuffer.allocate(size).order(structure.order()).put(0, structure, 0, (int) given)));
        });
    }

    // Address spaces

    private static int alloc(IommuFile file, ByteBuffer alloc, long address) {
        KernelOfFile host = file.host();
        if (alloc.getInt(IommuIoasAlloc.FLAGS) != 0) {
            return host.refuse(IommufdAnswer.IOMMUFD_FLAGS);
        }
        AddressSpace space = file.newSpace();
        int id = file.add(space);
        int refused = host.copyOut(address, alloc.putInt(IommuIoasAlloc.OUT_IOAS_ID, id), IommuIoasAlloc.SIZE);
        if (refused < 0) {
            file.destroy(id);
        }
        return refused;
    }

    private static int onSpace(IommuFile file, int id, ToIntFunction<AddressSpace> call) {
        Optional<AddressSpace> space = file.space(id);
        return space.isEmpty() ? file.host().refuse(IommufdAnswer.IOMMUFD_NO_OBJECT) : call.applyAsInt(space.get());
    }

    /** Writes the ranges that fit, and the number of all ranges. */
    private static int ranges(IommuFile file, ByteBuffer ranges, long address) {
        KernelOfFile host = file.host();
        if (ranges.getInt(MAP_RESERVED) != 0) {
            return host.refuse(IommufdAnswer.IOMMUFD_FLAGS);
        }
        return onSpace(file, ranges.getInt(IommuIoasIovaRanges.IOAS_ID), space -> {
            long[] free = space.ranges();
            int count = free.length / 2;
            long room = Math.min(count, Integer.toUnsignedLong(ranges.getInt(IommuIoasIovaRanges.NUM_IOVAS)));
            for (int i = 0; i < room; i++) {
                ByteBuffer range = ByteBuffer.allocate(RANGE_SIZE)
                        .order(ranges.order())
                        .putLong(0, free[2 * i])
                        .putLong(Long.BYTES, free[2 * i + 1]);
                long to = ranges.getLong(IommuIoasIovaRanges.ALLOWED_IOVAS) + (long) i * RANGE_SIZE;
                int refused = host.copyOut(to, range, RANGE_SIZE);
                if (refused < 0) {
                    return refused;
                }
            }
            ranges.putInt(IommuIoasIovaRanges.NUM_IOVAS, count)
                    .putLong(IommuIoasIovaRanges.OUT_IOVA_ALIGNMENT, space.alignment());
            int refused = host.copyOut(address, ranges, IommuIoasIovaRanges.SIZE);
            return refused < 0 || room == count ? refused : host.refuse(IommufdAnswer.IOMMUFD_RANGES_ROOM);
        });
    }

    private static int map(IommuFile file, ByteBuffer map, long address) {
        KernelOfFile host = file.host();
        int flags = map.getInt(IommuIoasMap.FLAGS);
        if ((flags & ~MAP_FLAGS) != 0 || map.getInt(MAP_RESERVED) != 0) {
            return host.refuse(IommufdAnswer.IOMMUFD_FLAGS);
        }
        long iova = map.getLong(IommuIoasMap.IOVA);
        long length = map.getLong(IommuIoasMap.LENGTH);
        if (iova == -1 || length == -1) {
            return host.refuse(IommufdAnswer.IOMMUFD_MAP_WRAPS);
        }
        if ((flags & ~UapiIommufd.IOMMU_IOAS_MAP_FIXED_IOVA) == 0) {
            return host.refuse(IommufdAnswer.IOMMUFD_MAP_RANGE);
        }
        return onSpace(file, map.getInt(IommuIoasMap.IOAS_ID), space -> {
            if ((flags & UapiIommufd.IOMMU_IOAS_MAP_FIXED_IOVA) == 0) {
                throw new NotModelledException("IOMMU_IOAS_MAP without IOMMU_IOAS_MAP_FIXED_IOVA");
            }
            boolean writes = (flags & UapiIommufd.IOMMU_IOAS_MAP_WRITEABLE) != 0;
            int access = writes ? Uapi.PROT_WRITE : Uapi.PROT_READ;
            int result = space.map(iova, map.getLong(IommuIoasMap.USER_VA), length, access);
            return result < 0 ? result : host.copyOut(address, map, IommuIoasMap.SIZE);
        });
    }

    private static int unmap(IommuFile file, ByteBuffer unmap, long address) {
        KernelOfFile host = file.host();
        long iova = unmap.getLong(IommuIoasUnmap.IOVA);
        long length = unmap.getLong(IommuIoasUnmap.LENGTH);
        return onSpace(file, unmap.getInt(IommuIoasUnmap.IOAS_ID), space -> {
            if (iova == 0 && length == -1) {
                throw new NotModelledException("IOMMU_IOAS_UNMAP of all mappings");
            }
            if (iova == -1 || length == -1) {
                return host.refuse(IommufdAnswer.IOMMUFD_UNMAP_WRAPS);
            }
            AddressSpace.Unmapped unmapped = space.unmap(iova, length);
            if (unmapped.refused().isPresent()) {
                return host.refuse(unmapped.refused());
            }
            return unmapped.bytes() == 0
                    ? host.refuse(IommufdAnswer.IOMMUFD_UNMAP_RANGE)
                    : host.copyOut(
                            address, unmap.putLong(IommuIoasUnmap.LENGTH, unmapped.bytes()), IommuIoasUnmap.SIZE);
        });
    }
}
