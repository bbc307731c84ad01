/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.kernel.Mapping;

/**
 * A region of a device, such as a BAR or the configuration space. Each access is one pread(2) or pwrite(2) of the
 * register's size: four bytes here; one, two or four in {@link PciConfig}. So the driver in the kernel makes one access
 * to the device. {@link #map} gives a guest the registers themselves. Thread-safe.
 */
public final class Region {
    private final DeviceCalls calls;
    private final int index;
    private final int flags;
    private final long size;
    private final long offset;

    Region(DeviceCalls calls, int index, int flags, long size, long offset) {
        this.calls = calls;
        this.index = index;
        this.flags = flags;
        this.size = size;
        this.offset = offset;
    }

    /** The size in bytes; 0 if the device does not have the region. */
    public long size() {
        return size;
    }

    /** Whether {@link #getInt} works. */
    public boolean isReadable() {
        return (flags & io.kvmirq.uapi.UapiVfio.VFIO_REGION_INFO_FLAG_READ) != 0;
    }

    /** Whether {@link #putInt} works. */
    public boolean isWritable() {
        return (flags & io.kvmirq.uapi.UapiVfio.VFIO_REGION_INFO_FLAG_WRITE) != 0;
    }

    /**
     * Reads a register of 32 bits.
     *
     * @param at bytes from the start of the region, a multiple of 4
     * @throws io.kvmirq.KernelException EIO while memory or I/O space of the device is off
     * @throws IndexOutOfBoundsException outside of the region
     */
    public int getInt(long at) {
        return get(at, Integer.BYTES);
    }

    /** Writes a register of 32 bits. Else as {@link #getInt}. */
    public void putInt(long at, int value) {
        put(at, Integer.BYTES, value);
    }

    /** Whether {@link #map} works. */
    public boolean isMappable() {
        return (flags & io.kvmirq.uapi.UapiVfio.VFIO_REGION_INFO_FLAG_MMAP) != 0;
    }

    /**
     * Maps a part of the region, for {@code Vm.addMemory}: then the guest's accesses reach the device without an exit.
     * Leave out the pages of the MSI-X table, which the VMM emulates. The mapping outlives the handle of the device. An
     * access while the device's memory space is off is an {@link InternalError} here.
     *
     * @param at bytes from the start of the region, a multiple of the page size
     * @param length bytes, a multiple of the page size
     * @throws io.kvmirq.KernelException EINVAL if it cannot be mapped; ENOMEM
     * @throws IndexOutOfBoundsException outside of the region
     */
    public Mapping.Owner map(long at, long length) {
        requireInside(at, length);
        return calls.map(offset + at, length);
    }

    int get(long at, int width) {
        require(at, width);
        return calls.read(offset + at, width);
    }

    void put(long at, int width, int value) {
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
