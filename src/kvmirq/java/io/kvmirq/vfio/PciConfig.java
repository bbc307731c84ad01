/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

/**
 * A PCI device's config space as vfio-pci shows it, with some bits emulated instead of passed through. Values are
 * unsigned, except those of {@link #getInt}. Thread-safe, except for {@link #enableBusMaster}, {@link
 * #disableBusMaster} and {@link #enableMemory}, which read a register and then write it.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="region"}
 */
public final class PciConfig {
    private static final int COMMAND = 4;
    private static final int MEMORY = 1 << 1;
    private static final int BUS_MASTER = 1 << 2;

    private final Region region;

    PciConfig(Region region) {
        this.region = region;
    }

    /** The size in bytes, 256, or 4096 for PCI Express. */
    public long size() {
        return region.size();
    }

    /** Reads 8 bits. Throws IndexOutOfBoundsException if {@code at} is outside the config space. */
    public int getByte(int at) {
        return (int) region.get(at, Byte.BYTES);
    }

    /** Reads 16 bits at offset {@code at}, a multiple of 2. */
    public int getShort(int at) {
        return (int) region.get(at, Short.BYTES);
    }

    /** Reads 32 bits at offset {@code at}, a multiple of 4. */
    public int getInt(int at) {
        return (int) region.get(at, Integer.BYTES);
    }

    /** Writes 8 bits. */
    public void putByte(int at, int value) {
        region.put(at, Byte.BYTES, value);
    }

    /** Writes 16 bits at offset {@code at}, a multiple of 2. */
    public void putShort(int at, int value) {
        region.put(at, Short.BYTES, value);
    }

    /** Writes 32 bits at offset {@code at}, a multiple of 4. */
    public void putInt(int at, int value) {
        region.put(at, Integer.BYTES, value);
    }

    /** Enables bus mastering, without which the device cannot do DMA or send MSI and MSI-X messages. */
    public void enableBusMaster() {
        putShort(COMMAND, getShort(COMMAND) | BUS_MASTER);
    }

    /** Disables bus mastering. Throws IllegalStateException if the device keeps its Bus Master bit set. */
    public void disableBusMaster() {
        putShort(COMMAND, getShort(COMMAND) & ~BUS_MASTER);
        int command = getShort(COMMAND);
        if ((command & BUS_MASTER) != 0) {
            throw new IllegalStateException(
                    "COMMAND reads 0x" + Integer.toHexString(command) + " after Bus Master was cleared");
        }
    }

    /** Enables the memory space, which vfio-pci enables when the device is opened and restores after a reset. */
    public void enableMemory() {
        putShort(COMMAND, getShort(COMMAND) | MEMORY);
    }
}
