/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.PciAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;

/**
 * The identity and the capabilities of a PCI device.
 *
 * @param group the number of its IOMMU group
 * @param ids the vendor and the device id, in the lower and the upper half
 * @param intx whether it has an interrupt pin
 * @param disIntx whether it can mask INTx itself, as since PCI 2.3
 * @param sharesLine whether a driver of the host has the same interrupt line
 * @param msi the number of MSI vectors; 0 without the capability
 * @param msix the number of MSI-X vectors; 0 without the capability
 * @param bars the sizes of its BARs in bytes, by number
 */
public record PciFunction(
        PciAddress address,
        int group,
        int ids,
        boolean intx,
        boolean disIntx,
        boolean sharesLine,
        int msi,
        int msix,
        boolean express,
        boolean resets,
        Map<Integer, Integer> bars) {

    // Configuration space, PCI 3.0 chapter 6 and PCI Express 3.0 chapter 7
    private static final int SIZE = 256;
    private static final int EXPRESS_SIZE = 4096;
    private static final int STATUS = 6;
    private static final int HAS_CAPABILITIES = 1 << 4;
    private static final int CLASS = 0xb;
    private static final int UNASSIGNED_CLASS = 0xff;
    private static final int FIRST_CAPABILITY = 0x34;
    private static final int INTERRUPT_PIN = 0x3d;
    private static final int EXPRESS_ID = 0x10;
    private static final int EXPRESS_AT = 0x40;
    private static final int EXPRESS_VERSION = 2;
    private static final int FUNCTION_RESET = 1 << 28;
    private static final int MSI_ID = 5;
    private static final int MSI_AT = 0x80;
    private static final int MSI_64_BIT = 1 << 7;
    private static final int MSIX_ID = 0x11;
    private static final int MSIX_AT = 0xa0;

    /** The configuration space after a reset: the header, and the capabilities that concern interrupts. */
    public byte[] config() {
        ByteBuffer space = ByteBuffer.allocate(express ? EXPRESS_SIZE : SIZE).order(ByteOrder.LITTLE_ENDIAN);
        space.putInt(0, ids).put(CLASS, (byte) UNASSIGNED_CLASS).put(INTERRUPT_PIN, (byte) (intx ? 1 : 0));
        int pointer = FIRST_CAPABILITY;
        if (express) {
            pointer = link(space, pointer, EXPRESS_AT, EXPRESS_ID);
            space.putShort(EXPRESS_AT + 2, (short) EXPRESS_VERSION).putInt(EXPRESS_AT + 4, resets ? FUNCTION_RESET : 0);
        }
        if (msi != 0) {
            pointer = link(space, pointer, MSI_AT, MSI_ID);
            space.putShort(MSI_AT + 2, (short) (MSI_64_BIT | Integer.numberOfTrailingZeros(msi) << 1));
        }
        if (msix != 0) {
            link(space, pointer, MSIX_AT, MSIX_ID);
            space.putShort(MSIX_AT + 2, (short) (msix - 1));
        }
        return space.array();
    }

    /** Appends a capability to the list. Returns where the pointer to the next one is. */
    private static int link(ByteBuffer space, int pointer, int at, int id) {
        space.put(STATUS, (byte) HAS_CAPABILITIES).put(pointer, (byte) at).put(at, (byte) id);
        return at + 1;
    }
}
