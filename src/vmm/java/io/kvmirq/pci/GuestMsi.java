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
 * The MSI capability of a guest's device. The VMM passes the guest's accesses to this object, and each access has taken
 * effect in the kernel when the call returns. While this object is in use, no other code may change the MSI vectors of
 * the {@code Forwarding}.
 *
 * <p>Multiple Message Enable is the number of vectors that the guest enables. They are forwarded with one call when the
 * guest sets MSI Enable, because Linux cannot add vectors to enabled MSI. Each message has the address and data that
 * the guest wrote, with the vector's number in the low bits of the data. A vector is open while MSI is enabled and the
 * vector is not masked. A message that the device sends for a masked vector sets the vector's pending bit, and is
 * delivered when the vector opens. Because this process masks the vectors, {@code messageControl} can have Per-Vector
 * Masking Capable even if the device's register does not.
 *
 * <p>Disabling MSI keeps masks and pending bits, but {@link #reset} clears them. If a guest changes Multiple Message
 * Enable while MSI is enabled, each vector interrupts once, because messages may be lost during the change. While INTx
 * or MSI-X of the device is forwarded, all vectors wait as if masked, so call {@link #settle} once it has ended.
 *
 * <p>A write throws a {@link io.kvmirq.vfio.VectorsExhaustedException} if the host has fewer vectors than the guest
 * enables. On a host with few vectors, lower Multiple Message Capable. For other exceptions, see {@link GuestMessages}.
 *
 * <p>Source: PCI Local Bus Specification 3.0, 6.8.1; PCI Express Base Specification 6.0, 7.7.1. The guest gets no
 * Extended Message Data.
 *
 * {@snippet class="io.kvmirq.snippets.VmmSnippetsTest" region="msi"}
 */
public final class GuestMsi extends GuestMessages {
    private static final int CONTROL = 2;
    private static final int ADDRESS = 4;
    private static final int UPPER_ADDRESS = 8;
    /** The distance from the data register to the mask bits. */
    private static final int MASKS = 4;

    private static final int PENDING = 8;
    /** Bits [1:0] of an address are 0. */
    private static final int ADDRESS_BITS = ~3;

    private static final int ENABLE = 1;
    private static final int CAPABLE_SHIFT = 1;
    private static final int ENABLE_SHIFT = 4;
    /** The mask of a 3-bit logarithm, 0 to 5, of a number of vectors. */
    private static final int LOG = 7;

    private static final int MOST_LOG = 5;
    private static final int WIDE = 1 << 7;
    private static final int MASKABLE = 1 << 8;

    private static final int DATA_BITS = 0xffff;

    private final OptionalInt deviceId;
    /** The logarithm of the number of vectors. */
    private final int capable;

    private final boolean wide;
    private final boolean maskable;
    private final int data;
    private final ByteBuffer registers;
    /** The bits that a guest can write. */
    private final ByteBuffer writable;

    /**
     * Creates the MSI capability of the device that {@code forwarding} forwards, in the state after a reset.
     *
     * @param deviceId the device's 32-bit id in the guest's ITS, which is a PCI device's requester id; empty on x86
     * @param messageControl Message Control that the guest reads, 16 bits; only Multiple Message Capable, 64-bit
     *     Address Capable and Per-Vector Masking Capable are used
     * @throws IllegalArgumentException if the device has no MSI, or fewer vectors than {@code messageControl} encodes
     */
    public GuestMsi(Forwarding forwarding, VfioDevice device, OptionalInt deviceId, int messageControl) {
        this(
                new ForwardedVectors(forwarding, device, IrqKind.MSI, size(device, messageControl)),
                deviceId,
                messageControl);
    }

    /**
     * Creates the MSI capability of an emulated function with these vectors, in the state after a reset.
     *
     * @param messageControl Message Control, 16 bits; Multiple Message Capable must encode {@code vectors.count()}
     */
    public GuestMsi(EmulatedVectors vectors, OptionalInt deviceId, int messageControl) {
        this(Objects.requireNonNull(vectors, "vectors is null").source(), deviceId, messageControl);
        if (size() != 1 << (messageControl >> CAPABLE_SHIFT & LOG) || size() > 1 << MOST_LOG) {
            throw new IllegalArgumentException(size() + " vectors of MSI, and Message Control 0x"
                    + Integer.toHexString(messageControl) + ": expected as many in both, 32 or less");
        }
    }

    private GuestMsi(VectorSource source, OptionalInt deviceId, int messageControl) {
        super(new GuestVectors(source));
        this.deviceId = Objects.requireNonNull(deviceId, "deviceId is null");
        capable = Integer.numberOfTrailingZeros(size());
        wide = (messageControl & WIDE) != 0;
        maskable = (messageControl & MASKABLE) != 0;
        data = wide ? UPPER_ADDRESS + Integer.BYTES : ADDRESS + Integer.BYTES;
        registers = ByteBuffer.allocate(maskable ? data + PENDING + Integer.BYTES : data + Short.BYTES)
                .order(ByteOrder.LITTLE_ENDIAN);
        writable = ByteBuffer.allocate(registers.capacity()).order(ByteOrder.LITTLE_ENDIAN);
        writable.putShort(CONTROL, (short) (ENABLE | LOG << ENABLE_SHIFT)).putInt(ADDRESS, ADDRESS_BITS);
        if (wide) {
            writable.putInt(UPPER_ADDRESS, -1);
        }
        writable.putShort(data, (short) -1);
        if (maskable) {
            writable.putInt(data + MASKS, (int) ((1L << size()) - 1));
        }
        clear();
    }

    private static int size(VfioDevice device, int messageControl) {
        int max = count(device, IrqKind.MSI);
        int capable = messageControl >> CAPABLE_SHIFT & LOG;
        int size = 1 << capable;
        if (capable > MOST_LOG || size > max) {
            throw new IllegalArgumentException(device.name() + " has "
                    + (max == 0 ? "no MSI" : max + " vectors of MSI") + ", and Message Control 0x"
                    + Integer.toHexString(messageControl) + " says " + size + ": expected at most as many, 32 or less");
        }
        return size;
    }

    private void clear() {
        for (int i = 0; i < length(); i++) {
            registers.put(i, (byte) 0);
        }
        setControl(0, 0);
    }

    /** The size of the capability in bytes: 10, 14, 20 or 24. */
    public int length() {
        return registers.capacity();
    }

    // Message Control

    private void setControl(int enable, int log) {
        registers.putShort(CONTROL, (short) (enable
                | capable << CAPABLE_SHIFT
                | Math.min(log, capable) << ENABLE_SHIFT
                | (wide ? WIDE : 0)
                | (maskable ? MASKABLE : 0)));
    }

    private int log() {
        return registers.getShort(CONTROL) >> ENABLE_SHIFT & LOG;
    }

    /** Whether the guest has enabled MSI. */
    @Override
    public boolean isEnabled() {
        return (registers.getShort(CONTROL) & ENABLE) != 0;
    }

    /** The number of vectors in Multiple Message Enable. */
    private int count() {
        return 1 << log();
    }

    // Accesses

    private static boolean isSize(int size) {
        return size == Byte.BYTES || size == Short.BYTES || size == Integer.BYTES;
    }

    private boolean isHere(int at) {
        return at >= CONTROL && at < length();
    }

    /**
     * Handles the guest's read of the capability.
     *
     * @param at the offset in bytes from the start of the capability. Bytes 0 and 1 (id and next pointer) and bytes
     *     after the capability read 0
     * @param size 1, 2 or 4 bytes; other sizes read 0
     * @throws IllegalStateException if a virtual thread reads pending bits
     */
    public int read(int at, int size) {
        int value = 0;
        for (int i = 0; isSize(size) && i < size; i++) {
            if (isHere(at + i)) {
                value |= (byteOf(at + i) & 0xff) << i * Byte.SIZE;
            }
        }
        return value;
    }

    private int byteOf(int at) {
        int first = (at - data - PENDING) * Byte.SIZE;
        if (!maskable || first < 0) {
            return registers.get(at);
        }
        int bits = 0;
        for (int i = 0; i < Byte.SIZE && first + i < size(); i++) {
            bits |= vectors.isPending(first + i) ? 1 << i : 0;
        }
        return bits;
    }

    /**
     * Handles the guest's write of the capability. Registers that one access writes change together. If the guest
     * changes an open vector's message, the new message is used at once, even if the guest has written only part of it.
     *
     * @param at the offset in bytes from the start of the capability. Bytes 0 and 1 (id and next pointer) and bytes
     *     after the capability are not written
     * @param size 1, 2 or 4 bytes; a write of another size has no effect
     */
    public void write(int at, int size, int value) {
        if (!isSize(size)) {
            return;
        }
        boolean wasEnabled = isEnabled();
        int before = count();
        for (int i = 0; i < size; i++) {
            if (isHere(at + i)) {
                int may = writable.get(at + i);
                registers.put(at + i, (byte) (registers.get(at + i) & ~may | value >> i * Byte.SIZE & may));
            }
        }
        setControl(isEnabled() ? ENABLE : 0, log());
        if (wasEnabled && !isEnabled()) {
            vectors.end();
        } else if (wasEnabled && before != count()) {
            vectors.end();
            vectors.owe(vectors.keepsPending() ? 0 : Math.min(before, count()));
        }
        settle();
    }

    // Consequences of a guest's write

    private MsiMessage message(int vector) {
        long address = registers.getInt(ADDRESS) & 0xffff_ffffL;
        if (wide) {
            address |= (long) registers.getInt(UPPER_ADDRESS) << Integer.SIZE;
        }
        int base = registers.getShort(data) & DATA_BITS & ~(count() - 1);
        return new MsiMessage(address, base | vector, deviceId);
    }

    @Override
    public void settle() {
        if (isEnabled()) {
            BitSet open = new BitSet();
            open.set(0, count());
            if (maskable) {
                open.andNot(BitSet.valueOf(new long[] {registers.getInt(data + MASKS) & 0xffff_ffffL}));
            }
            vectors.become(open, count(), this::message);
        }
    }

    // Save and restore

    /** Returns the capability and all 32 pending bits, even without a register; see {@link GuestMessages#state}. */
    @Override
    public byte[] state() {
        return ByteBuffer.allocate(length() + Integer.BYTES)
                .order(ByteOrder.LITTLE_ENDIAN)
                .put(registers.duplicate().rewind())
                .put(Arrays.copyOf(vectors.waiting().toByteArray(), Integer.BYTES))
                .array();
    }

    @Override
    public void restore(byte[] bytes) {
        Objects.requireNonNull(bytes, "bytes is null");
        ByteBuffer state = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        int fixed = ~writable.getShort(CONTROL) & DATA_BITS;
        if (bytes.length != length() + Integer.BYTES
                || ((state.getShort(CONTROL) ^ registers.getShort(CONTROL)) & fixed) != 0) {
            throw new IllegalArgumentException(bytes.length + " bytes are not the state of MSI with " + size()
                    + " vectors and a capability of " + length() + " bytes");
        }
        reset();
        vectors.keep(BitSet.valueOf(new long[] {state.getInt(length()) & (1L << size()) - 1}));
        for (int at = ADDRESS; at < length(); at++) {
            registers.put(at, (byte) (state.get(at) & writable.get(at)));
        }
        write(CONTROL, Short.BYTES, state.getShort(CONTROL));
    }

    /**
     * Resets MSI at a function, bus or guest reset. MSI is then disabled, no vector is masked and no message is
     * pending. After this call, reset the device ({@link VfioDevice#reset}).
     */
    @Override
    public void reset() {
        clear();
        vectors.end();
        vectors.forget();
    }
}
