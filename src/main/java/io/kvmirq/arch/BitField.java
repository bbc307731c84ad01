/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

/**
 * A run of bits in a structure, by name and position as its manual has them. Bit n of the structure is bit n mod 64 of
 * its 64-bit word n / 64, least significant first; a field never leaves its word. Values are unsigned. Held in a static
 * final field it costs a shift and a mask.
 *
 * @param name as the kernel spells it
 * @param low number of the lowest bit in the structure
 * @param width in bits, 1–64
 */
public record BitField(String name, int low, int width) {
    public BitField {
        if (low < 0 || width < 1 || low % Long.SIZE + width > Long.SIZE) {
            throw new IllegalArgumentException(
                    "field " + name + " of " + width + " bits from bit " + low + " does not lie in one 64-bit word");
        }
    }

    /** One bit. */
    public static BitField bit(String name, int low) {
        return new BitField(name, low, 1);
    }

    /** Number of the highest bit in the structure. */
    public int high() {
        return low + width - 1;
    }

    /** Index of the 64-bit word the field is in. */
    public int word() {
        return low / Long.SIZE;
    }

    /** All values fit up to this one, unsigned. */
    public long max() {
        return -1L >>> (Long.SIZE - width);
    }

    /** The field's bits in its word. */
    public long mask() {
        return max() << low;
    }

    /** @return the field's value in {@code word}, which is that of index {@link #word()} */
    public long of(long word) {
        return word >>> low & max();
    }

    /** Whether any bit of the field is set in {@code word}. */
    public boolean isSet(long word) {
        return (word & mask()) != 0;
    }

    /**
     * The word that holds {@code value} in this field and 0 elsewhere.
     *
     * @throws IllegalArgumentException if the value does not fit
     */
    public long with(long value) {
        if ((value & ~max()) != 0) {
            throw doesNotFit(value);
        }
        return value << low;
    }

    /** Apart, so that what is called often stays small enough to be inlined. */
    private IllegalArgumentException doesNotFit(long value) {
        return new IllegalArgumentException(name + " 0x" + Long.toHexString(value) + " does not fit: expected 0–0x"
                + Long.toHexString(max()) + ", " + width + (width == 1 ? " bit" : " bits"));
    }

    /** {@code word} with this field replaced by {@code value}. */
    public long put(long word, long value) {
        return word & ~mask() | with(value);
    }
}
