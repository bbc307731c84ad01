/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.MsiMessage;
import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioInfoCapHeader;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaMap;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DmaUnmap;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1Info;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1InfoCapIovaRange;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1InfoCapMigration;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1InfoDmaAvail;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.LongPredicate;

/** The DMA mappings of a container's devices, with VFIO_TYPE1v2_IOMMU; source: drivers/vfio/vfio_iommu_type1.c. */
final class DmaMappings {
    private static final long PAGE_MASK = 4095;
    /** The module parameter dma_entry_limit. */
    private static final int MOST_MAPPINGS = 65535;
    /** The start of the MSI window, 1 MiB that mappings must not use: on x86, and IOMMU_RESV_SW_MSI of SMMUs. */
    private static final long ARM_MESSAGES = 0x8000000L;

    private static final long MESSAGES_SIZE = 1L << 20;
    /** The start of AMD's reserved HyperTransport range ({@code HT_RANGE_START} in amd_iommu_types.h), up to 2^40. */
    private static final long TRANSPORT = 0xfd_0000_0000L;

    private static final long TRANSPORT_END = 1L << 40;
    /** Every IOMMU translates addresses below this one. */
    private static final long COMMON_END = 1L << 39;

    /** The page sizes of VT-d with large pages. */
    private static final long PAGE_SIZES = 1 << 12 | 1 << 21 | 1 << 30;
    /** AMD_IOMMU_PGSIZES: all sizes except 512 GiB; of 64 bits in 6.1 and of 52 bits in 6.12. */
    private static final long AMD_PAGE_SIZES = -(1L << 12) & ~(1L << 39);

    private static final long AMD_WIDTH = (1L << 52) - 1;
    /** The end of iova_pgsizes: the least argsz of VFIO_IOMMU_GET_INFO. */
    private static final int INFO_LEAST = 16;

    /** DIRTY_BITMAP_SIZE_MAX. */
    private static final long MOST_DIRTY_BYTES = 1 << 28;

    private static final int LONGEST_INFO = 160;

    private static final int MAP_FLAGS =
            UapiVfio.VFIO_DMA_MAP_FLAG_READ | UapiVfio.VFIO_DMA_MAP_FLAG_WRITE | UapiVfio.VFIO_DMA_MAP_FLAG_VADDR;
    private static final int UNMAP_FLAGS = UapiVfio.VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP
            | UapiVfio.VFIO_DMA_UNMAP_FLAG_ALL
            | UapiVfio.VFIO_DMA_UNMAP_FLAG_VADDR;

    /** A mapping; {@code last} is its last address. */
    record Mapping(long first, long last) {
        long size() {
            return last - first + 1;
        }

        boolean overlaps(long from, long to) {
            return Long.compareUnsigned(first, to) <= 0 && Long.compareUnsigned(from, last) <= 0;
        }
    }

    private final KernelOfFile host;
    private final LongPredicate mayPin;
    /** The mappings, keyed by first address. They do not overlap. */
    private final NavigableMap<Long, Mapping> mappings = new TreeMap<>(Long::compareUnsigned);

    /** @param mayPin whether an IOMMU driver may pin this many more bytes */
    DmaMappings(KernelOfFile host, LongPredicate mayPin) {
        this.host = host;
        this.mayPin = mayPin;
    }

    /** The first address of the IOMMU's MSI window. */
    private static long messages(KernelOfFile host) {
        return host.build().arm64() ? ARM_MESSAGES : MsiMessage.X86_WINDOW;
    }

    private static long messagesLast(KernelOfFile host) {
        return messages(host) + MESSAGES_SIZE - 1;
    }

    /** Whether the IOMMU translates all 64 bits. AMD's does; since 6.15 its width depends on the page tables. */
    private static boolean translatesAll(KernelOfFile host) {
        return host.build().hardware().isAmd() && !host.build().isSince(6, 15);
    }

    /** @throws NotModelledException for an address that only some IOMMUs translate */
    static void checkWidth(KernelOfFile host, long last) {
        if (!translatesAll(host) && Long.compareUnsigned(last, COMMON_END) >= 0) {
            throw new NotModelledException("the width of an IOMMU: an IOVA of 2^39 or more");
        }
    }

    /** Whether a part of a range is reserved by the IOMMU. */
    static boolean isReserved(KernelOfFile host, long first, long last) {
        Mapping range = new Mapping(first, last);
        return range.overlaps(messages(host), messagesLast(host))
                || translatesAll(host) && range.overlaps(TRANSPORT, TRANSPORT_END - 1);
    }

    /** The ranges that the IOMMU translates, as first and last address. */
    static long[] ranges(KernelOfFile host) {
        return translatesAll(host)
                ? new long[] {0, messages(host) - 1, messagesLast(host) + 1, TRANSPORT - 1, TRANSPORT_END, -1}
                : new long[] {0, messages(host) - 1, messagesLast(host) + 1, COMMON_END - 1};
    }

    /** {@code vfio_iommu_type1_get_info()}. */
    int info(long address) {
        return host.copied(address, INFO_LEAST, given -> {
            long argsz = Integer.toUnsignedLong(given.getInt(VfioIommuType1Info.ARGSZ));
            if (argsz < INFO_LEAST) {
                return host.refuse(VfioAnswer.VFIO_IOMMU_INFO_ARGUMENTS);
            }
            ByteBuffer whole = capabilities(ByteBuffer.allocate(LONGEST_INFO).order(given.order()));
            whole.putInt(VfioIommuType1Info.ARGSZ, (int) argsz)
                    .putInt(VfioIommuType1Info.FLAGS, UapiVfio.VFIO_IOMMU_INFO_PGSIZES | UapiVfio.VFIO_IOMMU_INFO_CAPS)
                    .putLong(VfioIommuType1Info.IOVA_PGSIZES, pageSizes());
            int min = (int) Math.min(argsz, VfioIommuType1Info.SIZE);
            if (argsz < whole.limit()) {
                return host.copyOut(address, whole.putInt(VfioIommuType1Info.ARGSZ, whole.limit()), min);
            }
            return host.copyOut(
                    address, whole.putInt(VfioIommuType1Info.CAP_OFFSET, VfioIommuType1Info.SIZE), whole.limit());
        });
    }

    private long pageSizes() {
        return !translatesAll(host)
                ? PAGE_SIZES
                : host.build().isSince(6, 12) ? AMD_PAGE_SIZES & AMD_WIDTH : AMD_PAGE_SIZES;
    }

    /** The chain of capabilities, 8-aligned since 6.6 ({@code vfio_info_cap_add()}). The buffer's limit is its end. */
    private ByteBuffer capabilities(ByteBuffer info) {
        int align = host.build().isSince(6, 6) ? Long.BYTES - 1 : 0;
        int migration = VfioIommuType1Info.SIZE;
        int available = migration + VfioIommuType1InfoCapMigration.SIZE;
        int addresses = available + (VfioIommuType1InfoDmaAvail.SIZE + align & ~align);
        long[] ranges = ranges(host);
        header(info, migration, UapiVfio.VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, available);
        info.putLong(migration + VfioIommuType1InfoCapMigration.PGSIZE_BITMAP, PAGE_MASK + 1)
                .putLong(migration + VfioIommuType1InfoCapMigration.MAX_DIRTY_BITMAP_SIZE, MOST_DIRTY_BYTES);
        header(info, available, UapiVfio.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, addresses);
        info.putInt(available + VfioIommuType1InfoDmaAvail.AVAIL, MOST_MAPPINGS - mappings.size());
        header(info, addresses, UapiVfio.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 0);
        info.putInt(addresses + VfioIommuType1InfoCapIovaRange.NR_IOVAS, ranges.length / 2);
        info.position(addresses + VfioIommuType1InfoCapIovaRange.SIZE);
        for (long address : ranges) {
            info.putLong(address);
        }
        return info.flip();
    }

    private static void header(ByteBuffer info, int at, int id, int next) {
        info.putShort(at + VfioInfoCapHeader.ID, (short) id)
                .putShort(at + VfioInfoCapHeader.VERSION, (short) 1)
                .putInt(at + VfioInfoCapHeader.NEXT, next);
    }

    int map(long address) {
        return host.copied(address, VfioIommuType1DmaMap.SIZE, this::map);
    }

    private int map(ByteBuffer map) {
        int flags = map.getInt(VfioIommuType1DmaMap.FLAGS);
        if (isShort(map, VfioIommuType1DmaMap.SIZE) || (flags & ~MAP_FLAGS) != 0) {
            return host.refuse(VfioAnswer.VFIO_MAP_ARGUMENTS);
        }
        if ((flags & UapiVfio.VFIO_DMA_MAP_FLAG_VADDR) != 0) {
            throw new NotModelledException("VFIO_IOMMU_MAP_DMA with VFIO_DMA_MAP_FLAG_VADDR");
        }
        long vaddr = map.getLong(VfioIommuType1DmaMap.VADDR);
        long iova = map.getLong(VfioIommuType1DmaMap.IOVA);
        long size = map.getLong(VfioIommuType1DmaMap.LENGTH);
        Optional<Answer> refused = refusesRange(iova, vaddr, size, flags);
        return refused.isPresent() ? host.refuse(refused) : map(iova, vaddr, size, access(flags));
    }

    /** The access that a mapping requires of its memory: read, and with the WRITE flag also write. */
    static int access(int flags) {
        return (flags & UapiVfio.VFIO_DMA_MAP_FLAG_WRITE) == 0 ? Uapi.PROT_READ : Uapi.PROT_WRITE;
    }

    private static boolean isShort(ByteBuffer structure, int size) {
        return Integer.compareUnsigned(structure.getInt(0), size) < 0;
    }

    private static boolean wraps(long first, long size) {
        return Long.compareUnsigned(first + size - 1, first) < 0;
    }

    private boolean checksWrapFirst() {
        return host.build().isSince(6, 18);
    }

    private Optional<Answer> refusesRange(long iova, long vaddr, long size, int flags) {
        boolean wraps = size != 0 && (wraps(iova, size) || wraps(vaddr, size));
        if (checksWrapFirst() && size != 0 && wraps) {
            return Optional.of(VfioAnswer.VFIO_MAP_WRAPS);
        }
        if (size == 0 || flags == 0 || ((size | iova | vaddr) & PAGE_MASK) != 0) {
            return Optional.of(VfioAnswer.VFIO_MAP_RANGE);
        }
        return wraps ? Optional.of(VfioAnswer.VFIO_MAP_WRAPS_BEFORE) : Optional.empty();
    }

    private int map(long iova, long vaddr, long size, int access) {
        long last = iova + size - 1;
        if (at(last).filter(mapping -> mapping.overlaps(iova, last)).isPresent()) {
            return host.refuse(VfioAnswer.VFIO_MAP_EXISTS);
        }
        if (mappings.size() == MOST_MAPPINGS) {
            return host.refuse(VfioAnswer.VFIO_MAP_LIMIT);
        }
        if (isReserved(host, iova, last)) {
            return host.refuse(VfioAnswer.VFIO_MAP_RESERVED);
        }
        checkWidth(host, last);
        if (!host.memory().has(vaddr, size, access)) {
            return host.refuse(FileAnswer.FAULT);
        }
        if (!mayPin.test(size)) {
            return host.refuse(VfioAnswer.DMA_MAP_LOCKED);
        }
        mappings.put(iova, new Mapping(iova, last));
        return 0;
    }

    long bytes() {
        return mappings.values().stream().mapToLong(Mapping::size).sum();
    }

    /** The last mapping that begins at or before an address. */
    private Optional<Mapping> at(long iova) {
        return Optional.ofNullable(mappings.floorEntry(iova)).map(Map.Entry::getValue);
    }

    int unmap(long address) {
        return host.copied(address, VfioIommuType1DmaUnmap.SIZE, unmap -> {
            int refused = unmap(unmap);
            return refused < 0 ? refused : host.copyOut(address, unmap, VfioIommuType1DmaUnmap.SIZE);
        });
    }

    private int unmap(ByteBuffer unmap) {
        int flags = unmap.getInt(VfioIommuType1DmaUnmap.FLAGS);
        boolean withDirty = (flags & UapiVfio.VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) != 0;
        if (isShort(unmap, VfioIommuType1DmaUnmap.SIZE)
                || (flags & ~UNMAP_FLAGS) != 0
                || withDirty && flags != UapiVfio.VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) {
            return host.refuse(VfioAnswer.VFIO_UNMAP_ARGUMENTS);
        }
        if (flags != 0) {
            throw new NotModelledException("VFIO_IOMMU_UNMAP_DMA with flags 0x" + Integer.toHexString(flags));
        }
        long iova = unmap.getLong(VfioIommuType1DmaUnmap.IOVA);
        long size = unmap.getLong(VfioIommuType1DmaUnmap.LENGTH);
        if (size == 0 || ((iova | size) & PAGE_MASK) != 0) {
            return host.refuse(VfioAnswer.VFIO_UNMAP_RANGE);
        }
        if (wraps(iova, size)) {
            return host.refuse(checksWrapFirst() ? VfioAnswer.VFIO_UNMAP_WRAPS : VfioAnswer.VFIO_UNMAP_WRAPS_BEFORE);
        }
        long last = iova + size - 1;
        if (splits(iova, last)) {
            return host.refuse(VfioAnswer.VFIO_UNMAP_SPLITS);
        }
        unmap.putLong(VfioIommuType1DmaUnmap.LENGTH, remove(iova, last));
        return 0;
    }

    /** Whether the range begins or ends inside a mapping. */
    private boolean splits(long iova, long last) {
        return at(iova).filter(mapping -> mapping.overlaps(iova, iova) && mapping.first() != iova)
                        .isPresent()
                || at(last).filter(mapping -> mapping.overlaps(last, last) && mapping.last() != last)
                        .isPresent();
    }

    /** @return the unmapped bytes */
    private long remove(long iova, long last) {
        long before = bytes();
        mappings.values().removeIf(mapping -> mapping.overlaps(iova, last));
        return before - bytes();
    }
}
