/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.explain.IommufdAnswer;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.LongPredicate;
import org.jspecify.annotations.Nullable;

/** An IOAS: the memory that its attached devices may access. Source: drivers/iommu/iommufd/io_pagetable.c. */
final class AddressSpace extends IommuObject {
    private static final long PAGE_MASK = 4095;
    private static final long LONGEST_MAPPING = -1 - PAGE_MASK - 1;

    /** A mapping up to {@code last}, and the access that it requires of its memory. */
    private record Area(long first, long last, long vaddr, int access) {
        long bytes() {
            return last - first + 1;
        }

        boolean overlaps(long from, long to) {
            return Long.compareUnsigned(first, to) <= 0 && Long.compareUnsigned(from, last) <= 0;
        }
    }

    private final KernelOfFile host;
    private final LongPredicate mayPin;
    /** The mappings, keyed by first address. They do not overlap. */
    private final NavigableMap<Long, Area> areas = new TreeMap<>(Long::compareUnsigned);

    /** The page table of the attached devices; null without one. */
    private @Nullable PageTable table;

    /** @param mayPin whether an IOMMU driver may pin this many more bytes */
    AddressSpace(KernelOfFile host, LongPredicate mayPin) {
        this.host = host;
        this.mayPin = mayPin;
    }

    Optional<PageTable> table() {
        return Optional.ofNullable(table);
    }

    /** Sets the page table, which uses this object. */
    void setTable(@Nullable PageTable to) {
        table = to;
        if (to == null) {
            unuse();
        } else {
            use();
        }
    }

    /** Whether an IOMMU has the mappings. Then they consist of whole pages of existing memory. */
    private boolean isInUse() {
        return table != null;
    }

    /** The rule that refuses to attach the first device; empty for none. */
    Optional<Answer> refusesDevice() {
        boolean unfit = areas.values().stream()
                .anyMatch(area -> DmaMappings.isReserved(host, area.first, area.last)
                        || ((area.first | area.last + 1 | area.vaddr) & PAGE_MASK) != 0);
        if (unfit) {
            return Optional.of(IommufdAnswer.IOMMUFD_ATTACH_MAPPED);
        }
        if (areas.values().stream().anyMatch(area -> !host.memory().has(area.vaddr, area.bytes(), area.access))) {
            return Optional.of(FileAnswer.FAULT);
        }
        return mayPin.test(bytes()) ? Optional.empty() : Optional.of(VfioAnswer.DMA_MAP_LOCKED);
    }

    /** The size of all mappings in bytes. An IOMMU that has the mappings pins this memory. */
    long bytes() {
        return areas.values().stream().mapToLong(Area::bytes).sum();
    }

    /** Maps memory, which must allow {@code access} as soon as an IOMMU uses it. Returns 0 or a negative errno. */
    int map(long iova, long vaddr, long length, int access) {
        Optional<Answer> refused = refuses(iova, vaddr, length);
        if (refused.isPresent()) {
            return host.refuse(refused);
        }
        if (isInUse()) {
            DmaMappings.checkWidth(host, iova + length - 1);
            if (!host.memory().has(vaddr, length, access)) {
                return host.refuse(FileAnswer.FAULT);
            }
            if (!mayPin.test(length)) {
                return host.refuse(VfioAnswer.DMA_MAP_LOCKED);
            }
        }
        areas.put(iova, new Area(iova, iova + length - 1, vaddr, access));
        return 0;
    }

    private Optional<Answer> refuses(long iova, long vaddr, long length) {
        if (length == 0 || Long.compareUnsigned(length, LONGEST_MAPPING) > 0) {
            return Optional.of(IommufdAnswer.IOMMUFD_MAP_RANGE);
        }
        long last = iova + length - 1;
        if (Long.compareUnsigned(vaddr + length, vaddr) < 0) {
            return Optional.of(IommufdAnswer.IOMMUFD_MAP_WRAPS);
        }
        boolean inUse = isInUse();
        if (inUse && ((length | iova) & PAGE_MASK) != 0) {
            return Optional.of(IommufdAnswer.IOMMUFD_MAP_RANGE);
        }
        if (Long.compareUnsigned(last, iova) < 0) {
            return Optional.of(IommufdAnswer.IOMMUFD_MAP_WRAPS);
        }
        if (inUse && DmaMappings.isReserved(host, iova, last)) {
            return Optional.of(IommufdAnswer.IOMMUFD_MAP_RANGE);
        }
        if (at(last).filter(area -> area.overlaps(iova, last)).isPresent()) {
            return Optional.of(IommufdAnswer.IOMMUFD_MAP_EXISTS);
        }
        return inUse && (vaddr & PAGE_MASK) != 0 ? Optional.of(IommufdAnswer.IOMMUFD_MAP_RANGE) : Optional.empty();
    }

    /** The last mapping that begins at or before an address. */
    private Optional<Area> at(long iova) {
        return Optional.ofNullable(areas.floorEntry(iova)).map(Map.Entry::getValue);
    }

    /** The bytes that were unmapped, even if the rest was refused. */
    record Unmapped(long bytes, Optional<Answer> refused) {}

    /** Removes the mappings in a range, in order, up to one that is only partly in the range. */
    Unmapped unmap(long iova, long length) {
        long last = iova + length - 1;
        if (length == 0) {
            return new Unmapped(0, Optional.of(IommufdAnswer.IOMMUFD_UNMAP_EMPTY));
        }
        return Long.compareUnsigned(last, iova) < 0
                ? new Unmapped(0, Optional.of(IommufdAnswer.IOMMUFD_UNMAP_WRAPS))
                : unmapRange(iova, last);
    }

    private Unmapped unmapRange(long first, long last) {
        long bytes = 0;
        for (Area area : List.copyOf(areas.values())) {
            if (area.overlaps(first, last)) {
                if (Long.compareUnsigned(area.first, first) < 0 || Long.compareUnsigned(area.last, last) > 0) {
                    return new Unmapped(bytes, Optional.of(IommufdAnswer.IOMMUFD_UNMAP_RANGE));
                }
                areas.remove(area.first);
                bytes += area.bytes();
            }
        }
        return new Unmapped(bytes, Optional.empty());
    }

    /** The usable ranges as first and last addresses. Without a device these are all addresses. */
    long[] ranges() {
        return table == null ? new long[] {0, -1} : DmaMappings.ranges(host);
    }

    long alignment() {
        return table == null ? 1 : PAGE_MASK + 1;
    }
}
