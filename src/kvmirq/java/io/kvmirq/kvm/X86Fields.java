/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import java.util.Objects;
import java.util.function.ToIntFunction;

/** A copy of a kernel structure whose fields {@code N} names. */
abstract class X86Fields<N extends Enum<N>, S extends X86Fields<N, S>> extends X86State {
    private final Class<N> names;
    private final ToIntFunction<N> offsets;
    private final ToIntFunction<N> sizes;

    /** @param sizes in bytes: 1, 2, 4 or 8 */
    X86Fields(int size, Class<N> names, ToIntFunction<N> offsets, ToIntFunction<N> sizes) {
        super(size);
        this.names = names;
        this.offsets = offsets;
        this.sizes = sizes;
    }

    private int offset(N name) {
        return offsets.applyAsInt(name);
    }

    private int size(N name) {
        return sizes.applyAsInt(name);
    }

    /** The value of a field, zero-extended. */
    public long get(N name) {
        Objects.requireNonNull(name, "name is null");
        int at = offset(name);
        return switch (size(name)) {
            case Byte.BYTES -> Byte.toUnsignedLong(structure.get(at));
            case Short.BYTES -> Short.toUnsignedLong(structure.getShort(at));
            case Integer.BYTES -> Integer.toUnsignedLong(structure.getInt(at));
            default -> structure.getLong(at);
        };
    }

    /** Sets a field of this copy, and drops value bits above the field's width. */
    @SuppressWarnings("unchecked") // S is this object's class
    public S set(N name, long value) {
        Objects.requireNonNull(name, "name is null");
        int at = offset(name);
        switch (size(name)) {
            case Byte.BYTES -> structure.put(at, (byte) value);
            case Short.BYTES -> structure.putShort(at, (short) value);
            case Integer.BYTES -> structure.putInt(at, (int) value);
            default -> structure.putLong(at, value);
        }
        return (S) this;
    }

    private String text(N name) {
        return name + "=0x" + Long.toHexString(get(name));
    }

    @Override
    String describe(int offset) {
        for (N name : names.getEnumConstants()) {
            if (offset >= offset(name) && offset < offset(name) + size(name)) {
                return text(name);
            }
        }
        return super.describe(offset);
    }

    @Override
    public String toString() {
        StringBuilder text = new StringBuilder();
        for (N name : names.getEnumConstants()) {
            text.append(text.isEmpty() ? "" : " ").append(text(name));
        }
        return text.toString();
    }
}
