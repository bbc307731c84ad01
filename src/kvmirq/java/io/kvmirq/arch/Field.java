/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.List;

/**
 * A field of a structure, with its name, bits and {@link Description}. A {@link BitField} is a contiguous bit range,
 * and a {@link SplitField} is a value split over two ranges. Values are unsigned, up to 64 bits. Immutable. The
 * parameter {@code bits} is the whole structure, as returned by {@link Format#bits}.
 */
public sealed interface Field permits BitField, SplitField {
    /** The role of a field when a structure is decoded to named values or encoded from them. */
    enum Role {
        /** The field is always decoded, and its value must be given to encode the structure. */
        NAMED,
        /** The field is optional: decoding omits its default value, and encoding stores it if the field is omitted. */
        DEFAULTED,
        /** The value follows from other fields. Decoding returns it, but encoding does not require it. */
        DERIVED,
        /** The field is printed, but not decoded to a named value. */
        SHOWN
    }

    /** The name of the field in the kernel's definition of the structure. */
    String name();

    /** The field's label, meaning, role and rules. */
    Description description();

    /** The contiguous bit ranges of this field, lowest first. */
    List<BitField> parts();

    /** The field's width in the structure, 1–64 bits. */
    default int width() {
        return parts().stream().mapToInt(BitField::width).sum();
    }

    /** Whether encoding stores this field, because its value is not derived, computed or only shown. */
    default boolean isStored() {
        return (description().role() == Role.NAMED || description().role() == Role.DEFAULTED)
                && !description().isComputed();
    }

    /** The unsigned value of this field in a structure. */
    default long value(long[] bits) {
        long value = 0;
        int at = description().shift();
        for (BitField part : parts()) {
            value |= part.of(bits[part.word()]) << at;
            at += part.width();
        }
        return description().computed().applyAsLong(value);
    }

    /** The meaning of this field's value in a structure, in words. */
    default String meaning(long[] bits) {
        return description().meaning().of(value(bits), bits);
    }

    /** Stores a value in this field. Throws IllegalArgumentException if the value does not fit. */
    default void put(long[] bits, long value) {
        int shift = description().shift();
        long max = -1L >>> (Long.SIZE - width()) << shift;
        if ((value & ~max) != 0) {
            throw new IllegalArgumentException("field '" + name() + "' 0x" + Long.toHexString(value)
                    + " does not fit: expected 0-0x" + Long.toHexString(max)
                    + (shift == 0 ? "" : " in steps of 0x" + Long.toHexString(1L << shift)));
        }
        long rest = value >>> shift;
        for (BitField part : parts()) {
            int word = part.word();
            int width = part.width();
            bits[word] = part.put(bits[word], rest & part.max());
            rest = width == Long.SIZE ? 0 : rest >>> width;
        }
    }
}
