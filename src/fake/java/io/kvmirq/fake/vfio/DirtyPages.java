/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.explain.FileAnswer;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIommuType1DirtyBitmap;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.Map;

/**
 * VFIO_IOMMU_DIRTY_PAGES. Every page of a mapping counts as dirty, because a PCI device's memory is pinned. From the
 * second bitmap on, pages after a mapping also count: Linux shifts the bitmap of a mapping in place, and clears only a
 * part of it. Source: {@code update_user_bitmap()}, {@code vfio_iova_dirty_bitmap()} in
 * drivers/vfio/vfio_iommu_type1.c.
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
    /** The bitmaps of mappings that were read, keyed by first address. */
    private final Map<Long, long[]> bitmaps = new HashMap<>();

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
            if (!tracked) {
                bitmaps.clear();
            }
            return 0;
        });
    }

    /** Removes the bitmap of a mapping. */
    void forget(long first) {
        bitmaps.remove(first);
    }

    private int bitmap(ByteBuffer range) {
        long iova = range.getLong(0);
        long size = range.getLong(RANGE_LENGTH);
        long bytes = range.getLong(BITMAP_SIZE);
        long last = iova + size - 1;
        if (mappings.checksWrapFirst() && size != 0 && DmaMappings.wraps(iova, size)) {
            return host.refuse(VfioAnswer.VFIO_DIRTY_WRAPS);
        }
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
            int pages = (int) (mapping.size() >>> PAGE_SHIFT);
            long[] bits = bitmaps.computeIfAbsent(mapping.first(), none -> new long[words(pages) + 1]);
            int refused = copyOut(range.getLong(BITMAP), mapping.first() - iova >>> PAGE_SHIFT, bits, pages);
            if (refused < 0) {
                return refused;
            }
            setFirst(bits, pages, false);
        }
        return 0;
    }

    /** The bytes of a bitmap with a bit for each page, in 64-bit words. */
    private static long bytesOf(long pages) {
        return (pages + Long.SIZE - 1) / Long.SIZE * Long.BYTES;
    }

    private static int words(int bits) {
        return (int) (bytesOf(bits) / Long.BYTES);
    }

    private static void setFirst(long[] bits, int count, boolean on) {
        for (int bit = 0; bit < count; bit++) {
            long one = 1L << bit;
            bits[bit / Long.SIZE] = on ? bits[bit / Long.SIZE] | one : bits[bit / Long.SIZE] & ~one;
        }
    }

    /** Does what {@code __bitmap_shift_left()} does. */
    private static void shift(long[] bits, int by, int words) {
        for (int word = words - 1; word >= 0; word--) {
            long lower = word > 0 ? bits[word - 1] >>> Long.SIZE - by : 0;
            bits[word] = bits[word] << by | lower;
        }
    }

    /** Copies the bitmap of a mapping into the caller's bitmap, and keeps the bits already in its first word. */
    private int copyOut(long bitmap, long firstPage, long[] bits, int pages) {
        long to = bitmap + firstPage / Long.SIZE * Long.BYTES;
        int by = (int) (firstPage % Long.SIZE);
        int words = words(pages + by);
        setFirst(bits, pages, true);
        if (by != 0) {
            shift(bits, by, words);
            ByteBuffer left = host.memory().copyIn(to, Long.BYTES);
            if (left == null) {
                return host.refuse(FileAnswer.FAULT);
            }
            bits[0] |= left.getLong(0);
        }
        ByteBuffer written = ByteBuffer.allocate(words * Long.BYTES).order(ByteOrder.nativeOrder());
        for (int word = 0; word < words; word++) {
            written.putLong(word * Long.BYTES, bits[word]);
        }
        return host.copyOut(to, written, written.capacity());
    }
}
