/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import java.util.OptionalInt;

/**
 * The interrupts of a PCI function, as its configuration space describes them.
 *
 * <p>Source: PCI Local Bus Specification 3.0, 6.1 and 6.8; include/uapi/linux/pci_regs.h.
 */
public final class PciCapabilities {
    /** The size of the conventional configuration space, in bytes. All capabilities that are read are in it. */
    public static final int BYTES = 256;

    /** The bytes that sysfs shows to a process without CAP_SYS_ADMIN. */
    public static final int PUBLIC_BYTES = 64;

    private static final int COMMAND = 4;
    private static final int DIS_INTX = 1 << 10;
    private static final int STATUS = 6;
    private static final int INTX_PENDING = 1 << 3;
    private static final int HAS_CAPABILITIES = 1 << 4;
    private static final int HEADER_TYPE = 0x0e;
    private static final int FIRST_CAPABILITY = 0x34;
    private static final int INTERRUPT_PIN = 0x3d;
    private static final int HEADER_TYPE_MASK = 0x7f;

    private static final int MSI = 5;
    private static final int EXPRESS = 0x10;
    private static final int MSIX = 0x11;

    /** A capability has four bytes or more, so a longer chain is a loop. */
    private static final int MOST_CAPABILITIES = (BYTES - PUBLIC_BYTES) / 4;

    private final byte[] bytes;

    private PciCapabilities(byte[] bytes) {
        this.bytes = bytes;
    }

    /** Takes the first bytes of a configuration space, as the file {@code config} of sysfs has them. */
    public static PciCapabilities parse(byte[] bytes) {
        return new PciCapabilities(bytes.clone());
    }

    /** Whether the capabilities could be read. Without CAP_SYS_ADMIN, sysfs shows {@value #PUBLIC_BYTES} bytes only. */
    public boolean isComplete() {
        return bytes.length >= BYTES && !isGone();
    }

    /** Whether the header could be read, and the device responded. */
    public boolean isReadable() {
        return bytes.length >= PUBLIC_BYTES && !isGone();
    }

    /**
     * Whether the device does not respond: the header reads as ones; for a virtual function only vendor and device id
     * do (PCI Express Base Specification, 9.3.4.1).
     */
    public boolean isGone() {
        int ones = 0;
        while (ones < bytes.length && ones < PUBLIC_BYTES && bytes[ones] == -1) {
            ones++;
        }
        return ones == PUBLIC_BYTES;
    }

    /** STATUS.Interrupt and not COMMAND.DisINTx: the device asserts its pin. */
    public boolean isIntxAsserted() {
        return isReadable() && (word(STATUS) & INTX_PENDING) != 0 && !isIntxDisabled();
    }

    /** COMMAND.DisINTx: the device does not assert its pin. Reads 0 on a device without it. */
    public boolean isIntxDisabled() {
        return (word(COMMAND) & DIS_INTX) != 0;
    }

    /** Whether the device is not ready: the root complex completes the read with this vendor (PCI Express, CRS software visibility). */
    public boolean isNotReady() {
        return isReadable() && word(0) == 1 && word(2) == 0xffff;
    }

    /** Whether this is a bridge, which vfio-pci refuses. */
    public boolean isBridge() {
        return !isGone() && !isNotReady() && (at(HEADER_TYPE) & HEADER_TYPE_MASK) != 0;
    }

    /** The interrupt pin: 0 for none, 1–4 for INTA–INTD. Empty if it could not be read. */
    public OptionalInt interruptPin() {
        return bytes.length >= PUBLIC_BYTES ? OptionalInt.of(at(INTERRUPT_PIN)) : OptionalInt.empty();
    }

    /** The number of vectors of MSI: 1, 2, 4, 8, 16 or 32; 0 without MSI. */
    public int msiVectors() {
        int capability = capability(MSI);
        return capability == 0 ? 0 : 1 << Math.min(at(capability + 2) >>> 1 & 7, 5);
    }

    /** The number of vectors of MSI-X, 1–2048; 0 without MSI-X. */
    public int msixVectors() {
        int capability = capability(MSIX);
        return capability == 0 ? 0 : (word(capability + 2) & 0x7ff) + 1;
    }

    /** Whether the device can send messages in place of its line. */
    public boolean hasMessages() {
        return msiVectors() > 0 || msixVectors() > 0;
    }

    /** Whether this is a PCI Express function. VFIO reports errors of such functions only. */
    public boolean isExpress() {
        return capability(EXPRESS) != 0;
    }

    /** The offset of a capability, in bytes; 0 if there is none, or it could not be read. */
    public int capability(int id) {
        if ((word(STATUS) & HAS_CAPABILITIES) == 0) {
            return 0;
        }
        int at = at(FIRST_CAPABILITY) & ~3;
        for (int i = 0; i < MOST_CAPABILITIES && at >= PUBLIC_BYTES; i++) {
            if (at(at) == id) {
                return at;
            }
            at = at(at + 1) & ~3;
        }
        return 0;
    }

    /** The register of 16 bits at an offset in bytes. Bytes that could not be read are 0. */
    public int word(int offset) {
        return at(offset) | at(offset + 1) << Byte.SIZE;
    }

    /** A byte beyond the end reads as 0. */
    private int at(int offset) {
        return offset < bytes.length ? bytes[offset] & 0xff : 0;
    }
}
