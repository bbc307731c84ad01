/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.backend.Libc;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Memory of any length, in buffers of at most 1 GiB, because a buffer must be shorter than 2 GiB. Its {@link Mapping}
 * checks offsets and keeps the memory mapped. Immutable; {@code int} accesses are volatile.
 */
final class MemoryParts {
    private static final VarHandle INT = MethodHandles.byteBufferViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);
    private static final int PART_BITS = 30;
    /** The size of each part in bytes; the last may be shorter. */
    static final long PART_BYTES = 1L << PART_BITS;

    private final ByteBuffer[] parts;

    /** @param length 0 for memory that this process does not access */
    MemoryParts(Libc libc, long address, long length) {
        this.parts = new ByteBuffer[(int) (length + PART_BYTES - 1 >>> PART_BITS)];
        for (int i = 0; i < parts.length; i++) {
            parts[i] = libc.view(address + i * PART_BYTES, Math.min(PART_BYTES, length - i * PART_BYTES))
                    .order(ByteOrder.LITTLE_ENDIAN);
        }
    }

    boolean isEmpty() {
        return parts.length == 0;
    }

    private ByteBuffer part(long offset) {
        return parts[(int) (offset >>> PART_BITS)];
    }

    private static int within(long offset) {
        return (int) (offset & PART_BYTES - 1);
    }

    int getInt(long offset) {
        return (int) INT.getVolatile(part(offset), within(offset));
    }

    void putInt(long offset, int value) {
        INT.setVolatile(part(offset), within(offset), value);
    }

    byte getByte(long offset) {
        return part(offset).get(within(offset));
    }

    void putByte(long offset, byte value) {
        part(offset).put(within(offset), value);
    }

    /** Reads 2 or 8 bytes little-endian, even across the end of a part. */
    long get(long offset, int bytes) {
        if (within(offset) <= PART_BYTES - bytes) {
            return bytes == Long.BYTES
                    ? part(offset).getLong(within(offset))
                    : part(offset).getShort(within(offset));
        }
        long value = 0;
        for (int i = 0; i < bytes; i++) {
            value = value << Byte.SIZE | getByte(offset + bytes - 1 - i) & 0xff;
        }
        return value;
    }

    /** Writes 2 or 8 bytes little-endian, even across the end of a part. */
    void put(long offset, int bytes, long value) {
        if (within(offset) > PART_BYTES - bytes) {
            for (int i = 0; i < bytes; i++) {
                putByte(offset + i, (byte) (value >>> i * Byte.SIZE));
            }
        } else if (bytes == Long.BYTES) {
            part(offset).putLong(within(offset), value);
        } else {
            part(offset).putShort(within(offset), (short) value);
        }
    }

    void put(long offset, ByteBuffer content) {
        for (long at = offset; content.hasRemaining(); ) {
            int bytes = (int) Math.min(content.remaining(), PART_BYTES - within(at));
            part(at).put(within(at), content, content.position(), bytes);
            content.position(content.position() + bytes);
            at += bytes;
        }
    }

    void get(long offset, ByteBuffer content) {
        for (long at = offset; content.hasRemaining(); ) {
            int bytes = (int) Math.min(content.remaining(), PART_BYTES - within(at));
            content.put(content.position(), part(at), within(at), bytes);
            content.position(content.position() + bytes);
            at += bytes;
        }
    }
}
