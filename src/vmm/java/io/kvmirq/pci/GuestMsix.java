/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.IrqKind;
import io.kvmirq.MsiMessage;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.vfio.VfioDevice;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Objects;
import java.util.OptionalInt;

/**
 * A guest's MSI-X registers: Message Control, the MSI-X table and the Pending Bit Array (PBA). The VMM traps accesses
 * to these registers and passes them to this object, and each access has taken effect in the kernel when the call
 * returns. While this object is in use, no other code may change the MSI-X vectors of the {@code Forwarding}.
 *
 * <p>A vector is open while MSI-X is enabled and neither the function nor the vector is masked. A message for a vector
 * that is not open sets the vector's pending bit, and is delivered when the vector opens. If a vector has not been open
 * since MSI-X was enabled, its message is pending only in the device's own PBA. A vector is forwarded when it opens for
 * the first time, so a guest that uses few of its vectors needs few descriptors. Entries that change while their
 * vectors are masked reach the kernel when the vectors open, all with one KVM_SET_GSI_ROUTING. A write that does not
 * change a register makes no kernel call. Disabling MSI-X keeps the table and the pending bits, but {@link #reset}
 * clears both. Because no program can read whether a GICv4's vLPI was pending, an open vector that may use a vLPI
 * becomes pending when it is masked or MSI-X is disabled. No message is lost, but the last message may be delivered
 * twice. While INTx or MSI of the device is forwarded, all vectors wait as if masked, so call {@link #settle} once it
 * has ended.
 *
 * <p>A read with a wrong size or offset returns 0, and such a write has no effect. If the kernel refuses to mask a
 * vector, the vector stays open until a later write or {@link #settle} masks it.
 *
 * <p>Source: PCI Express Base Specification 6.0, 7.7.2, including the reset values of the MSI-X table.
 *
 * {@snippet class="io.kvmirq.snippets.VmmSnippetsTest" region="msix"}
 */
public final class GuestMsix extends GuestMessages {
    /** The size of an entry of the table in bytes. */
    public static final int ENTRY_BYTES = 16;

    private static final int UPPER_ADDRESS = 4;
    private static final int DATA = 8;
    private static final int VECTOR_CONTROL = 12;
    private static final int MASK = 1;
    /** Bits [1:0] of an address are 0. */
    private static final int ADDRESS_BITS = ~3;

    private static final int ENABLE = 1 << 15;
    private static final int FUNCTION_MASK = 1 << 14;

    private static final int SIZE_BITS = (1 << 11) - 1;

    private static final long LOW = 0xffff_ffffL;

    private final OptionalInt deviceId;
    private final long[] addresses;
    private final int[] data;
    private final BitSet masks = new BitSet();
    private boolean enabled;
    private boolean functionMasked;

    /**
     * Creates the MSI-X registers of the device that {@code forwarding} forwards, in the state after a reset.
     *
     * @param deviceId the device's 32-bit id in the guest's ITS, which is a PCI device's requester id; empty on x86
     * @throws IllegalArgumentException if the device has no MSI-X
     */
    public GuestMsix(Forwarding forwarding, VfioDevice device, OptionalInt deviceId) {
        this(new ForwardedVectors(forwarding, device, IrqKind.MSIX, size(device)), deviceId);
    }

    /** Creates the MSI-X registers of an emulated function with these vectors, in the state after a reset. */
    public GuestMsix(EmulatedVectors vectors, OptionalInt deviceId) {
        this(Objects.requireNonNull(vectors, "vectors is null").source(), deviceId);
    }

    private GuestMsix(VectorSource source, OptionalInt deviceId) {
        super(new GuestVectors(source));
        this.deviceId = Objects.requireNonNull(deviceId, "deviceId is null");
        this.addresses = new long[size()];
        this.data = new int[size()];
        masks.set(0, size());
    }

    private static int size(VfioDevice device) {
        int size = count(device, IrqKind.MSIX);
        if (size == 0) {
            throw new IllegalArgumentException(
                    device.name() + " has no MSI-X: emulate MSI or INTx, which device.info() lists");
        }
        return size;
    }

    // Message Control

    /** Returns Message Control, 16 bits: table size − 1 in [10:0], Function Mask in 14, MSI-X Enable in 15. */
    public int messageControl() {
        return size() - 1 | (functionMasked ? FUNCTION_MASK : 0) | (enabled ? ENABLE : 0);
    }

    /**
     * Handles the guest's write of Message Control. All bits except Function Mask and MSI-X Enable are read-only.
     *
     * @param value 16 bits
     */
    public void writeMessageControl(int value) {
        boolean enables = (value & ENABLE) != 0;
        functionMasked = (value & FUNCTION_MASK) != 0;
        if (enabled && !enables) {
            enabled = false;
            vectors.end();
        } else {
            enabled = enables;
            settle();
        }
    }

    /** Whether the guest has enabled MSI-X. */
    @Override
    public boolean isEnabled() {
        return enabled;
    }

    // The table

    private boolean isEntry(long at, int size) {
        return (size == Integer.BYTES || size == Long.BYTES)
                && at >= 0
                && at % size == 0
                && at <= (long) size() * ENTRY_BYTES - size;
    }

    private int register(int at) {
        int vector = at / ENTRY_BYTES;
        return switch (at % ENTRY_BYTES) {
            case UPPER_ADDRESS -> (int) (addresses[vector] >>> Integer.SIZE);
            case DATA -> data[vector];
            case VECTOR_CONTROL -> masks.get(vector) ? MASK : 0;
            default -> (int) addresses[vector];
        };
    }

    private void putRegister(int at, int value) {
        int vector = at / ENTRY_BYTES;
        switch (at % ENTRY_BYTES) {
            case UPPER_ADDRESS -> addresses[vector] = addresses[vector] & LOW | (long) value << Integer.SIZE;
            case DATA -> data[vector] = value;
            case VECTOR_CONTROL -> masks.set(vector, (value & MASK) != 0);
            default -> addresses[vector] = addresses[vector] & ~LOW | value & ADDRESS_BITS & LOW;
        }
    }

    /**
     * Handles the guest's read of the MSI-X table.
     *
     * @param at the offset in bytes from the start of the table
     * @param size 4 or 8 bytes; a read of another size, or at an offset that is not a multiple of it, returns 0
     */
    public long readTable(long at, int size) {
        if (!isEntry(at, size)) {
            return 0;
        }
        long low = register((int) at) & LOW;
        return size == Integer.BYTES ? low : low | (long) register((int) at + Integer.BYTES) << Integer.SIZE;
    }

    /**
     * Handles the guest's write of the MSI-X table. If an entry changes while its vector is open, the new value is used
     * at once, even if the guest has written only a part of it. Guest software must mask the vector before a change.
     *
     * @param at the offset in bytes from the start of the table
     * @param size 4 or 8 bytes; a write of another size, or at an offset that is not a multiple of it, has no effect
     */
    public void writeTable(long at, int size, long value) {
        if (!isEntry(at, size)) {
            return;
        }
        putRegister((int) at, (int) value);
        if (size == Long.BYTES) {
            putRegister((int) at + Integer.BYTES, (int) (value >>> Integer.SIZE));
        }
        settle((int) at / ENTRY_BYTES);
    }

    // The pending bits

    /**
     * Handles the guest's read of the PBA, which is read-only.
     *
     * @param at the offset in bytes from the start of the PBA
     * @param size 4 or 8 bytes; a read of another size, or at an offset that is not a multiple of it, returns 0
     * @throws IllegalStateException if a virtual thread calls this method
     */
    public long readPending(long at, int size) {
        long bytes = (long) (size() + Long.SIZE - 1) / Long.SIZE * Long.BYTES;
        if (size != Integer.BYTES && size != Long.BYTES || at < 0 || at % size != 0 || at > bytes - size) {
            return 0;
        }
        int first = (int) at * Byte.SIZE;
        long bits = 0;
        for (int i = 0; i < size * Byte.SIZE && first + i < size(); i++) {
            bits |= vectors.isPending(first + i) ? 1L << i : 0;
        }
        return bits;
    }

    // Consequences of a guest's write

    private MsiMessage message(int vector) {
        return new MsiMessage(addresses[vector], data[vector], deviceId);
    }

    private boolean isOpen(int vector) {
        return enabled && !functionMasked && !masks.get(vector);
    }

    private void settle(int vector) {
        if (isOpen(vector) || vectors.isOpen(vector)) {
            settle();
        }
    }

    @Override
    public void settle() {
        if (enabled) {
            BitSet open = new BitSet();
            if (!functionMasked) {
                open.set(0, size());
                open.andNot(masks);
            }
            vectors.become(open, 1, this::message);
        }
    }

    // Save and restore

    /** The bytes of {@link #state}: Message Control, the table, the pending bits. */
    private int stateBytes() {
        return Long.BYTES + size() * ENTRY_BYTES + (size() + Long.SIZE - 1) / Long.SIZE * Long.BYTES;
    }

    /** Returns Message Control, the MSI-X table and the pending bits, as {@link GuestMessages#state} describes. */
    @Override
    public byte[] state() {
        ByteBuffer state = ByteBuffer.allocate(stateBytes()).order(ByteOrder.LITTLE_ENDIAN);
        state.putLong(messageControl());
        for (int at = 0; at < size() * ENTRY_BYTES; at += Long.BYTES) {
            state.putLong(readTable(at, Long.BYTES));
        }
        return state.put(vectors.waiting().toByteArray()).array();
    }

    @Override
    public void restore(byte[] bytes) {
        if (Objects.requireNonNull(bytes, "bytes is null").length != stateBytes()
                || ((bytes[0] & 0xff | bytes[1] << Byte.SIZE) & SIZE_BITS) != size() - 1) {
            throw new IllegalArgumentException(
                    bytes.length + " bytes are not the state of MSI-X with " + size() + " vectors");
        }
        reset();
        ByteBuffer state = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        int control = (int) state.getLong();
        for (int at = 0; at < size() * ENTRY_BYTES; at += Long.BYTES) {
            writeTable(at, Long.BYTES, state.getLong());
        }
        BitSet owed = BitSet.valueOf(state);
        owed.clear(size(), Math.max(size(), owed.length()));
        vectors.keep(owed);
        writeMessageControl(control);
    }

    /**
     * Resets MSI-X at a function, bus or guest reset. This disables MSI-X, masks all vectors, and clears their messages
     * and pending bits. After this call, reset the device ({@link VfioDevice#reset}).
     */
    @Override
    public void reset() {
        enabled = false;
        functionMasked = false;
        masks.set(0, size());
        Arrays.fill(addresses, 0);
        Arrays.fill(data, 0);
        vectors.end();
        vectors.forget();
    }
}
