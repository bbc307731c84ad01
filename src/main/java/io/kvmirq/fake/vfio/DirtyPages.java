/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.explain.FileAnswer;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DirtyBitmap;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/**
 * VFIO_IOMMU_DIRTY_PAGES. Every page of a mapping counts as dirty, as the memory of a PCI device is pinned. Source:
 * {@code vfio_iommu_type1_dirty_pages()} in drivers/vfio/vfio_iommu_type1.c.
 */
final class DirtyPages {
    private static final int PAGE_SHIFT = 12;
    private static final long PAGE = 1 << PAGE_SHIFT;
    /** DIRTY_BITMAP_SIZE_MAX. */
    static final long MOST_BYTES = 1 << 28;

    private static final int FLAGS = UapiVfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_START
            | UapiVfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP
            | UapiVfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
    /** struct vfio_iommu_type1_dirty_bitmap_get: iova, size, and a bitmap with its page size, size and address. */
    private static final int RANGE_SIZE = 40;

    private static final int RANGE_LENGTH = 8;
    private static final int PAGE_SIZE = 16;
    private static final int BITMAP_SIZE = 24;
    private static final int BITMAP = 32;

    private final Host host;
    private final DmaMappings mappings;
    private boolean tracked;

    DirtyPages(Host host, DmaMappings mappings) {
        this.host = host;
        this.mappings = mappings;
    }

    int answer(long address) {
        if (!mappings.isVersion2()) {
            return host.refuse(VfioAnswer.VFIO_DIRTY_VERSION);
        }
        return host.copied(address, VfioIommuType1DirtyBitmap.SIZE, dirty -> {
            long argsz = Integer.toUnsignedLong(dirty.getInt(VfioIommuType1DirtyBitmap.ARGSZ));
            int flags = dirty.getInt(VfioIommuType1DirtyBitmap.FLAGS);
            if (argsz < VfioIommuType1DirtyBitmap.SIZE
                    || (flags & ~FLAGS) != 0
                    || Integer.bitCount(flags) != 1
                    || flags == UapiVfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP
                            && argsz < VfioIommuType1DirtyBitmap.SIZE + RANGE_SIZE) {
                return host.refuse(VfioAnswer.VFIO_DIRTY_ARGUMENTS);
            }
            if (flags == UapiVfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP) {
                return host.copied(address + VfioIommuType1DirtyBitmap.SIZE, RANGE_SIZE, this::bitmap);
            }
            tracked = flags == UapiVfio.VFIO_IOMMU_DIRTY_PAGES_FLAG_START;
            return 0;
        });
    }

    private int bitmap(ByteBuffer range) {
        long iova = range.getLong(0);
        long size = range.getLong(RANGE_LENGTH);
        long bytes = range.getLong(BITMAP_SIZE);
        long last = iova + size - 1;
        boolean wrong = Long.compareUnsigned(iova + size, iova) < 0
                || range.getLong(PAGE_SIZE) != PAGE
                || size == 0
                || ((iova | size) & PAGE - 1) != 0
                || Long.compareUnsigned(bytes, MOST_BYTES) > 0
                || Long.compareUnsigned(bytes, bytesOf(size >>> PAGE_SHIFT)) < 0;
        if (wrong) {
            return host.refuse(VfioAnswer.VFIO_DIRTY_RANGE);
        }
        if (!tracked || mappings.splits(iova, last)) {
            return host.refuse(VfioAnswer.VFIO_DIRTY_STATE);
        }
        for (DmaMappings.Mapping mapping : mappings.within(iova, last)) {
            int refused = copyOut(range.getLong(BITMAP), mapping.first() - iova >>> PAGE_SHIFT, mapping.size());
            if (refused < 0) {
                return refused;
            }
        }
        return 0;
    }

    /** Of bits for so many pages, in words of 64. */
    private static long bytesOf(long pages) {
        return (pages + Long.SIZE - 1) / Long.SIZE * Long.BYTES;
    }

    /** Sets the bits of a mapping; the others of its first word stay, those of its last word are cleared. */
    private int copyOut(long bitmap, long firstPage, long size) {
        long to = bitmap + firstPage / Long.SIZE * Long.BYTES;
        int shift = (int) (firstPage % Long.SIZE);
        int bits = shift + (int) (size >>> PAGE_SHIFT);
        ByteBuffer words = ByteBuffer.allocate((int) bytesOf(bits)).order(ByteOrder.nativeOrder());
        for (int bit = shift; bit < bits; bit++) {
            int at = bit / Long.SIZE * Long.BYTES;
            words.putLong(at, words.getLong(at) | 1L << bit);
        }
        if (shift != 0) {
            Optional<ByteBuffer> left = Optional.ofNullable(host.memory().copyIn(to, Long.BYTES));
            if (left.isEmpty()) {
                return host.refuse(FileAnswer.FAULT);
            }
            words.putLong(0, words.getLong(0) | left.get().getLong(0) & (1L << shift) - 1);
        }
        return host.copyOut(to, words, words.capacity());
    }
}
