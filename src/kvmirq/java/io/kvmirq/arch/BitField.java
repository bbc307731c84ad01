/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.List;
import java.util.Objects;

/**
 * A contiguous bit range in a hardware structure. Bit n of the structure is bit n mod 64 of its 64-bit word n / 64, and
 * bit 0 is the least significant. Reading a field through a static final constant is as fast as a shift and a mask. A
 * method's parameter {@code word} is the 64-bit word that contains the field.
 *
 * @param name the field's name in the kernel's definition of the structure
 * @param low the number of the lowest bit in the structure
 * @param width the number of bits, 1–64
 * @param description the field's label, meaning, role and rules
 */
public record BitField(String name, int low, int width, Description description) implements Field {
    /** @throws IllegalArgumentException if the field does not lie in one 64-bit word */
    public BitField {
        if (low < 0 || width < 1 || low % Long.SIZE + width > Long.SIZE) {
            throw new IllegalArgumentException(
                    "field " + name + " of " + width + " bits from bit " + low + " does not lie in one 64-bit word");
        }
    }

    /** Creates a field without a description, for code that only reads and writes its bits. */
    public BitField(String name, int low, int width) {
        this(name, low, width, Description.NONE);
    }

    /** Creates a one-bit field at bit {@code low} of the structure. */
    public static BitField bit(String name, int low, Description description) {
        Objects.requireNonNull(name, "name is null");
        Objects.requireNonNull(description, "description is null");
        return new BitField(name, low, 1, description);
    }

    /** Creates a one-bit field whose value 0 means {@code clear} and whose value 1 means {@code set}. */
    public static BitField flag(String name, int low, String label, String clear, String set) {
        Objects.requireNonNull(name, "name is null");
        Objects.requireNonNull(label, "label is null");
        Objects.requireNonNull(clear, "clear is null");
        Objects.requireNonNull(set, "set is null");
        return bit(name, low, Description.oneOf(label, clear, set));
    }

    /** Creates a reserved field, whose bits the manual requires to be 0. */
    public static BitField reserved(String name, int low, int width) {
        return new BitField(name, low, width, Description.RESERVED);
    }

    /** Returns a copy with another description, for another form of the structure. */
    public BitField as(Description other) {
        Objects.requireNonNull(other, "other is null");
        return new BitField(name, low, width, other);
    }

    /** Returns a copy with a default {@code value}, which {@link Format#encode} stores if the field is omitted. */
    public BitField ordinarily(long value) {
        return as(description.ordinarily(value));
    }

    /** Returns a copy without a default, so that {@link Format#encode} throws if the field is omitted. */
    public BitField required() {
        return as(description.required());
    }

    /** The number of the highest bit in the structure. */
    public int high() {
        return low + width - 1;
    }

    /** The index of the 64-bit word that contains the field. */
    public int word() {
        return low / Long.SIZE;
    }

    /** The largest value that the field can hold, unsigned. */
    public long max() {
        return -1L >>> (Long.SIZE - width);
    }

    /** The field's mask in its 64-bit word. */
    public long mask() {
        return -1L >>> (Long.SIZE - width) << low;
    }

    /** The field's unsigned value in {@code word}. */
    public long of(long word) {
        return word >>> low & -1L >>> (Long.SIZE - width);
    }

    /** Whether any bit of the field is set in {@code word}. */
    public boolean isSet(long word) {
        return (word & mask()) != 0;
    }

    /** A word with {@code value} in this field and 0 elsewhere. Throws IllegalArgumentException if it does not fit. */
    public long with(long value) {
        if ((value & ~(-1L >>> (Long.SIZE - width))) != 0) {
            throw doesNotFit(value);
        }
        return value << low;
    }

    /** Separate from {@link #with}, which must stay small enough to be inlined. */
    private IllegalArgumentException doesNotFit(long value) {
        return new IllegalArgumentException(name + " 0x" + Long.toHexString(value) + " does not fit: expected 0-0x"
                + Long.toHexString(max()) + ", " + width + (width == 1 ? " bit" : " bits"));
    }

    /** Returns {@code word} with this field set to {@code value}. Throws IllegalArgumentException unless it fits. */
    public long put(long word, long value) {
        return word & ~mask() | with(value);
    }

    @Override
    public List<BitField> parts() {
        return List.of(this);
    }

    @Override
    public String toString() {
        return name;
    }
}
