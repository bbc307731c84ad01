/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import java.nio.ByteBuffer;

/** Reads and writes fields of different sizes in kernel structures. */
final class Fields {
    private Fields() {}

    /** @param bytes 1, 2, 4 or 8 */
    static long get(ByteBuffer from, int offset, int bytes) {
        return switch (bytes) {
            case Byte.BYTES -> Byte.toUnsignedLong(from.get(offset));
            case Short.BYTES -> Short.toUnsignedLong(from.getShort(offset));
            case Integer.BYTES -> Integer.toUnsignedLong(from.getInt(offset));
            default -> from.getLong(offset);
        };
    }

    /** @param bytes 1, 2, 4 or 8 */
    static void put(ByteBuffer to, int offset, int bytes, long value) {
        switch (bytes) {
            case Byte.BYTES -> to.put(offset, (byte) value);
            case Short.BYTES -> to.putShort(offset, (short) value);
            case Integer.BYTES -> to.putInt(offset, (int) value);
            default -> to.putLong(offset, value);
        }
    }

    static byte[] bytes(ByteBuffer from, int offset, int length) {
        byte[] bytes = new byte[length];
        from.get(offset, bytes);
        return bytes;
    }
}
