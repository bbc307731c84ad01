/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.Mapping;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioInfoCapHeader;
import io.kvmirq.uapi.UapiVfio.VfioRegionInfo;
import io.kvmirq.uapi.UapiVfio.VfioRegionInfoCapSparseMmap;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * A device region, such as a BAR or the config space. Each access is one pread(2) or pwrite(2) of the register's size,
 * so the VFIO driver accesses the device once. {@link #map} maps registers so that a guest can access them directly.
 * Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="region"}
 */
public final class Region {
    private final DeviceCalls calls;
    private final int index;
    private final int flags;
    private final long size;
    private final long offset;
    private final List<Area> areas;

    /** A part of a region, with its offset from the region's start and its length in bytes. */
    public record Area(long at, long length) {}

    /** @param info struct vfio_region_info, with its capabilities */
    Region(DeviceCalls calls, int index, ByteBuffer info) {
        this.calls = calls;
        this.index = index;
        this.flags = info.getInt(VfioRegionInfo.FLAGS);
        this.size = info.getLong(VfioRegionInfo.LENGTH);
        this.offset = info.getLong(VfioRegionInfo.OFFSET);
        this.areas = areas(info);
    }

    /** The parts of the region that can be mapped. */
    static List<Area> areas(ByteBuffer info) {
        int flags = info.getInt(VfioRegionInfo.FLAGS);
        if ((flags & UapiVfio.VFIO_REGION_INFO_FLAG_MMAP) == 0) {
            return List.of();
        }
        boolean has = (flags & UapiVfio.VFIO_REGION_INFO_FLAG_CAPS) != 0;
        int at = has ? next(info, 0, info.getInt(VfioRegionInfo.CAP_OFFSET)) : 0;
        while (at != 0) {
            if (info.getShort(at + VfioInfoCapHeader.ID) == UapiVfio.VFIO_REGION_INFO_CAP_SPARSE_MMAP) {
                return sparse(info, at);
            }
            at = next(info, at, info.getInt(at + VfioInfoCapHeader.NEXT));
        }
        return List.of(new Area(0, info.getLong(VfioRegionInfo.LENGTH)));
    }

    /** @param from the offset of the capability that refers to the next one, or 0 for the header */
    private static int next(ByteBuffer info, int from, int next) {
        if (next != 0 && (next <= from || next > info.capacity() - VfioInfoCapHeader.SIZE)) {
            throw malformed(info, from, next + " as the next one: expected 0, or more than " + from + " within");
        }
        return next;
    }

    private static List<Area> sparse(ByteBuffer info, int at) {
        int first = at + VfioRegionInfoCapSparseMmap.SIZE;
        int room = info.capacity() - first;
        int count = room < 0 ? 0 : info.getInt(at + VfioRegionInfoCapSparseMmap.NR_AREAS);
        if (room < 0 || count < 0 || count > room / (2 * Long.BYTES)) {
            throw malformed(info, at, count + " areas: they do not fit in");
        }
        List<Area> found = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int area = first + 2 * Long.BYTES * i;
            found.add(new Area(info.getLong(area), info.getLong(area + Long.BYTES)));
        }
        return List.copyOf(found);
    }

    private static IllegalStateException malformed(ByteBuffer info, int at, String names) {
        return new IllegalStateException(
                "VFIO_DEVICE_GET_REGION_INFO: the " + (at == 0 ? "header" : "capability at " + at) + " names " + names
                        + " the " + info.capacity() + " bytes");
    }

    /** The size in bytes, or 0 if the device does not have the region. */
    public long size() {
        return size;
    }

    /** Whether the region's registers can be read, as by {@link #getInt}. */
    public boolean isReadable() {
        return (flags & UapiVfio.VFIO_REGION_INFO_FLAG_READ) != 0;
    }

    /** Whether the region's registers can be written, as by {@link #putInt}. */
    public boolean isWritable() {
        return (flags & UapiVfio.VFIO_REGION_INFO_FLAG_WRITE) != 0;
    }

    /**
     * Reads a 32-bit register.
     *
     * @param at the offset from the start of the region in bytes, a multiple of 4
     * @throws io.kvmirq.KernelException EIO while the device's memory or I/O space is disabled
     * @throws IndexOutOfBoundsException if the register is outside the region
     */
    public int getInt(long at) {
        return (int) get(at, Integer.BYTES);
    }

    /** Writes a 32-bit register. Otherwise like {@link #getInt}. */
    public void putInt(long at, int value) {
        put(at, Integer.BYTES, value);
    }

    /**
     * Reads a register of 1, 2, 4 or 8 bytes.
     *
     * @param at the offset from the start of the region in bytes, a multiple of {@code size}
     * @return the value, zero-extended
     * @throws RuntimeException as {@link #getInt}
     */
    public long read(long at, int size) {
        return get(at, size);
    }

    /** Writes a register of 1, 2, 4 or 8 bytes. Otherwise like {@link #read}. */
    public void write(long at, int size, long value) {
        put(at, size, value);
    }

    /**
     * The parts of the region that {@link #map} can map. This is the whole region, unless the driver reports parts, for
     * example all pages except one with emulated registers. Empty if the region cannot be mapped.
     */
    public List<Area> mappable() {
        return areas;
    }

    /** Whether {@link #map} can map at least part of the region. */
    public boolean isMappable() {
        return (flags & UapiVfio.VFIO_REGION_INFO_FLAG_MMAP) != 0;
    }

    /**
     * Maps a part of the region for {@code Vm.addMemory}, so that the guest accesses the device without an exit. Do not
     * map the pages of the MSI-X table, which the VMM emulates. The mapping stays valid after the {@link VfioDevice} is
     * closed. Only the guest can access the mapping: its methods throw UnsupportedOperationException. In this process,
     * use {@link #read} and {@link #write}, which fail with EIO while the device's memory space is disabled.
     *
     * @param at the offset from the start of the region in bytes, a multiple of the page size
     * @param length the length of the part in bytes, a multiple of the page size
     * @throws io.kvmirq.KernelException EINVAL if the driver cannot map this part, or ENOMEM
     * @throws IndexOutOfBoundsException if the part is outside the region
     */
    public Mapping.Owner map(long at, long length) {
        requireInside(at, length);
        return calls.map(offset + at, length);
    }

    long get(long at, int width) {
        require(at, width);
        return calls.read(offset + at, width);
    }

    void put(long at, int width, long value) {
        require(at, width);
        calls.write(offset + at, width, value);
    }

    private void requireInside(long at, long length) {
        if (at < 0 || length < 0 || at > size - length) {
            throw new IndexOutOfBoundsException("offset 0x" + Long.toHexString(at) + ", length " + length
                    + " is outside of " + this + ", which has " + size + " bytes");
        }
    }

    private void require(long at, int width) {
        requireInside(at, width);
        if (at % width != 0) {
            throw new IllegalArgumentException("offset 0x" + Long.toHexString(at) + " of " + this
                    + " is not a multiple of " + width + ", as one access needs");
        }
    }

    @Override
    public String toString() {
        return "region " + index + " of " + calls.device();
    }
}
