/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.List;
import java.util.function.LongUnaryOperator;

/**
 * One field of a {@link Format} as it is printed, read and written: a {@link BitField}, or several that make one
 * number, lowest part first. Values are unsigned, up to 64 bits. Immutable.
 */
public final class Field {
    /** What becomes of a field when a structure is written as named values, and made from them. */
    public enum Role {
        /** Always written; needed to make the structure. */
        NAMED,
        /** Written where it is not what it is by default, which is also what it becomes when it is not given. */
        DEFAULTED,
        /** Follows from other fields: written, and not needed to make the structure. */
        DERIVED,
        /** For people only. */
        SHOWN
    }

    private static final LongUnaryOperator PLAIN = LongUnaryOperator.identity();

    private final String name;
    private final String label;
    private final Role role;
    private final List<BitField> parts;
    private final int shift;
    private final long ordinary;
    private final boolean reserved;
    private final LongUnaryOperator computed;
    private final Meaning meaning;

    private Field(
            String name,
            String label,
            Role role,
            List<BitField> parts,
            int shift,
            long ordinary,
            boolean reserved,
            LongUnaryOperator computed,
            Meaning meaning) {
        this.name = name;
        this.label = label;
        this.role = role;
        this.parts = parts;
        this.shift = shift;
        this.ordinary = ordinary;
        this.reserved = reserved;
        this.computed = computed;
        this.meaning = meaning;
    }

    /** @param label the manual's short name, such as FPD; the field's own name is that of its lowest part */
    public static Field of(String label, Meaning meaning, BitField... parts) {
        return new Field(parts[0].name(), label, Role.NAMED, List.of(parts), 0, 0, false, PLAIN, meaning);
    }

    /** Bits that the manual wants 0. */
    public static Field reserved(BitField bits) {
        Meaning meaning = Meaning.always("reserved");
        return new Field(bits.name(), "R", Role.NAMED, List.of(bits), 0, 0, true, PLAIN, meaning);
    }

    /** This field under another name than that of its lowest part. */
    public Field named(String other) {
        return new Field(other, label, role, parts, shift, ordinary, reserved, computed, meaning);
    }

    /** This field as one that need not be given. */
    public Field ordinarily(long value) {
        return new Field(name, label, Role.DEFAULTED, parts, shift, value, reserved, computed, meaning);
    }

    /** This field as one that follows from others. */
    public Field derived() {
        return new Field(name, label, Role.DERIVED, parts, shift, ordinary, reserved, computed, meaning);
    }

    /** This field for people only. */
    public Field shown() {
        return new Field(name, label, Role.SHOWN, parts, shift, ordinary, reserved, computed, meaning);
    }

    /** This field as an address of which the low {@code bits} bits are not kept: its value has them, as 0. */
    public Field shifted(int bits) {
        return new Field(name, label, role, parts, bits, ordinary, reserved, computed, meaning);
    }

    /** This field with a value computed from its bits; a structure cannot be made from it. */
    public Field computed(LongUnaryOperator value) {
        return new Field(name, label, role, parts, shift, ordinary, reserved, value, meaning);
    }

    public String name() {
        return name;
    }

    /** The manual's short name. */
    public String label() {
        return label;
    }

    public Role role() {
        return role;
    }

    /** Where its bits are, lowest first. */
    public List<BitField> parts() {
        return parts;
    }

    /** What a {@link Role#DEFAULTED} field is when it is not given. */
    public long ordinary() {
        return ordinary;
    }

    /** Whether the manual wants it 0. */
    public boolean isReserved() {
        return reserved;
    }

    /** Whether the structure's bits follow from its value. */
    boolean isStored() {
        return (role == Role.NAMED || role == Role.DEFAULTED) && computed == PLAIN;
    }

    /** How many bits the structure has of it, 1–64. */
    public int width() {
        return parts.stream().mapToInt(BitField::width).sum();
    }

    /** What the value says, in a few words. */
    public String meaning(long[] bits) {
        return meaning.of(value(bits), bits);
    }

    /** @param bits the whole structure, as {@link Format#bits} has it */
    public long value(long[] bits) {
        long value = 0;
        int at = shift;
        for (int i = 0; i < parts.size(); i++) {
            BitField part = parts.get(i);
            value |= part.of(bits[part.word()]) << at;
            at += part.width();
        }
        return computed.applyAsLong(value);
    }

    /**
     * Puts a value over what the field was.
     *
     * @throws IllegalArgumentException if the value does not fit, or has low bits that the structure does not keep
     */
    void put(long[] bits, long value) {
        int width = width();
        long max = -1L >>> (Long.SIZE - width) << shift;
        if ((value & ~max) != 0) {
            throw new IllegalArgumentException("field '" + name + "' 0x" + Long.toHexString(value)
                    + " does not fit: expected 0–0x" + Long.toHexString(max)
                    + (shift == 0 ? "" : " in steps of 0x" + Long.toHexString(1L << shift)));
        }
        long rest = value >>> shift;
        for (int i = 0; i < parts.size(); i++) {
            BitField part = parts.get(i);
            bits[part.word()] = part.put(bits[part.word()], rest & part.max());
            rest = part.width() == Long.SIZE ? 0 : rest >>> part.width();
        }
    }

    @Override
    public String toString() {
        return name;
    }
}
