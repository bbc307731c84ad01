/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.fake.vfio.PciFunction.Trait;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.BitSet;

/**
 * The configuration space of a device after a reset, and its writable bits. Bytes outside capabilities keep written
 * values. Source: PCI 3.0 chapter 6, PCI Express 3.0 chapter 7.
 */
final class PciImage {
    static final int SIZE = 256;
    private static final int EXPRESS_SIZE = 4096;

    // The header
    static final int COMMAND = 4;
    static final int PORTS = 1;
    static final int MEMORY = 1 << 1;
    static final int MASTER = 1 << 2;
    private static final int SYSTEM_ERROR = 1 << 8;
    static final int STATUS = 6;
    static final int HAS_CAPABILITIES = 1 << 4;
    private static final int CLASS = 0xb;
    private static final int UNASSIGNED_CLASS = 0xff;
    static final int CACHE_LINE = 0xc;
    static final int BAR_0 = 0x10;
    static final int FIRST_CAPABILITY = 0x34;
    static final int INTERRUPT_LINE = 0x3c;
    static final int INTERRUPT_PIN = 0x3d;
    static final int HEADER_END = 0x40;

    // Capabilities: ids, where they are, and their registers from there
    static final int POWER_ID = 1;
    static final int MSI_ID = 5;
    static final int VENDOR_ID = 9;
    static final int EXPRESS_ID = 0x10;
    static final int MSIX_ID = 0x11;
    static final int FEATURES_ID = 0x13;
    private static final int EXPRESS_AT = 0x40;
    private static final int EXPRESS_LENGTH = 0x3c;
    private static final int EXPRESS_VERSION = 2;
    static final int DEVICE_CAPABILITIES = 4;
    static final int FUNCTION_RESET = 1 << 28;
    static final int DEVICE_CONTROL = 8;
    /** The writable bits: error reports, relaxed ordering, phantom functions, no snoop. */
    private static final int DEVICE_CONTROL_WRITABLE = 0x0a1f;

    static final int MSI_AT = 0x80;
    static final int FLAGS = 2;
    private static final int MSI_LENGTH = 14;
    private static final int MSI_MASKED_LENGTH = 24;
    private static final int MSI_64_BIT = 1 << 7;
    static final int MSI_MASK_BITS = 1 << 8;
    /** The writable bits: Enable and Multiple Message Enable. */
    private static final int MSI_WRITABLE = 0x71;

    static final int MSI_MASKS = 0x10;
    static final int MSI_PENDING = 0x14;
    static final int MSIX_AT = 0xa0;
    private static final int MSIX_LENGTH = 12;
    private static final int TABLE = 4;
    private static final int PENDING = 8;
    static final int POWER_AT = 0xb0;
    private static final int POWER_LENGTH = 8;
    private static final int POWER_VERSION = 3;
    static final int POWER_CONTROL = 4;
    /** No_Soft_Reset: registers keep their values in D3hot. */
    private static final int NO_SOFT_RESET = 1 << 3;

    private static final int FEATURES_AT = 0xb8;
    private static final int FEATURES_LENGTH = 6;
    static final int FEATURES = 3;
    /** Transactions pending, and function level reset. */
    static final int FEATURES_RESET = 3;

    static final int FEATURES_CONTROL = 4;
    private static final int OTHERS_AT = 0xc0;

    private final PciFunction function;
    private final ByteBuffer values;
    private final ByteBuffer writable;
    private final BitSet kept = new BitSet();
    private final BitSet free = new BitSet();
    private int pointer = FIRST_CAPABILITY;

    PciImage(PciFunction function) {
        this.function = function;
        int size = function.express() ? EXPRESS_SIZE : SIZE;
        this.values = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
        this.writable = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
        Arrays.fill(writable.array(), HEADER_END, size, (byte) -1);
        free.set(HEADER_END, size);
        header();
        capabilities();
        function.registers().forEach(register -> {
            int at = start(register.capability()) + register.at();
            values.putShort(at, (short) register.value());
            writable.putShort(at, (short) register.writable());
        });
    }

    /** The offset of a capability. */
    int start(int capability) {
        if (capability == 0) {
            return 0;
        }
        for (int at = values.get(FIRST_CAPABILITY) & 0xff; at != 0; at = values.get(at + 1) & 0xff) {
            if (values.get(at) == capability) {
                return at;
            }
        }
        throw new IllegalArgumentException("a register of capability " + capability + ", which the device lacks");
    }

    byte[] values() {
        return values.array();
    }

    /** The length of a capability: {@code pci_cap_length} in vfio_pci_config.c; 0 for one that VFIO hides. */
    static int length(int id, boolean msiMasks, int vendors) {
        return switch (id) {
            case POWER_ID -> POWER_LENGTH;
            case MSI_ID -> msiMasks ? MSI_MASKED_LENGTH : MSI_LENGTH;
            case VENDOR_ID -> vendors;
            case EXPRESS_ID -> EXPRESS_LENGTH;
            case MSIX_ID -> MSIX_LENGTH;
            case FEATURES_ID -> FEATURES_LENGTH;
            default -> 0;
        };
    }

    byte writable(int at) {
        return writable.get(at);
    }

    /** The bytes that the kernel restores after a reset ({@code pci_restore_state()}). */
    BitSet kept() {
        return kept;
    }

    private void header() {
        values.putInt(0, function.ids()).put(CLASS, (byte) UNASSIGNED_CLASS);
        values.put(INTERRUPT_PIN, (byte) (function.intx() ? 1 : 0));
        function.bars().forEach((number, bar) -> {
            int at = BAR_0 + number * Integer.BYTES;
            values.putInt(at, bar.register((int) bar.address()));
            if (bar.kind().isWide()) {
                values.putInt(at + Integer.BYTES, (int) (bar.address() >>> Integer.SIZE));
            }
        });
        writable.putShort(COMMAND, (short) (PORTS | MEMORY | MASTER | SYSTEM_ERROR))
                .put(CACHE_LINE, (byte) -1);
        kept.set(0, HEADER_END);
    }

    private void capabilities() {
        if (function.express()) {
            // The end of the list of extended capabilities, of which the fake has none.
            writable.putInt(SIZE, 0);
            link(EXPRESS_AT, EXPRESS_ID, EXPRESS_LENGTH, true);
            values.putShort(EXPRESS_AT + FLAGS, (short) EXPRESS_VERSION)
                    .putInt(EXPRESS_AT + DEVICE_CAPABILITIES, function.resets() ? FUNCTION_RESET : 0);
            writable.putShort(EXPRESS_AT + DEVICE_CONTROL, (short) DEVICE_CONTROL_WRITABLE);
        } else if (function.resets()) {
            link(FEATURES_AT, FEATURES_ID, FEATURES_LENGTH, false);
            values.put(FEATURES_AT + FLAGS, (byte) FEATURES_LENGTH).put(FEATURES_AT + FEATURES, (byte) FEATURES_RESET);
        }
        if (function.has(Trait.POWER)) {
            link(POWER_AT, POWER_ID, POWER_LENGTH, false);
            values.putShort(POWER_AT + FLAGS, (short) POWER_VERSION)
                    .putShort(POWER_AT + POWER_CONTROL, (short) NO_SOFT_RESET);
        }
        if (function.msi() != 0) {
            msi();
        }
        int at = OTHERS_AT;
        for (ByteBuffer other : function.others()) {
            values.put(at, other, 0, other.limit());
            link(at, other.get(0), other.limit(), false);
            if (other.get(0) == VENDOR_ID) {
                Arrays.fill(writable.array(), at + FLAGS + 1, at + other.limit(), (byte) -1);
            }
            at += PciFunction.aligned(other);
        }
        function.msix().ifPresent(msix -> {
            link(MSIX_AT, MSIX_ID, MSIX_LENGTH, true);
            values.putShort(MSIX_AT + FLAGS, (short) (msix.vectors() - 1))
                    .putInt(MSIX_AT + TABLE, msix.tableAt() | msix.tableBar())
                    .putInt(MSIX_AT + PENDING, msix.pendingAt() | msix.pendingBar());
        });
    }

    private void msi() {
        boolean masks = function.has(Trait.MSI_MASKS);
        link(MSI_AT, MSI_ID, masks ? MSI_MASKED_LENGTH : MSI_LENGTH, true);
        int max = Integer.numberOfTrailingZeros(function.msi()) << 1;
        values.putShort(MSI_AT + FLAGS, (short) (MSI_64_BIT | (masks ? MSI_MASK_BITS : 0) | max));
        writable.put(MSI_AT + FLAGS, (byte) MSI_WRITABLE);
        if (masks) {
            writable.putInt(MSI_AT + MSI_MASKS, (int) ((1L << function.msi()) - 1));
        }
    }

    /** The bytes that a function reset sets. Bytes outside capabilities keep their values. */
    BitSet reset() {
        BitSet reset = new BitSet();
        reset.set(0, values.capacity());
        reset.andNot(kept);
        reset.andNot(free);
        return reset;
    }

    /** Appends a capability to the list. */
    private void link(int at, int id, int length, boolean restored) {
        values.put(STATUS, (byte) HAS_CAPABILITIES)
                .put(pointer, (byte) at)
                .put(at, (byte) id)
                .put(at + 1, (byte) 0);
        pointer = at + 1;
        Arrays.fill(writable.array(), at, at + length, (byte) 0);
        free.clear(at, at + length);
        kept.set(at, at + length, restored);
    }
}
