/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.List;

/**
 * The words of a hardware structure, whose bits may have any values. {@code toString} returns the arguments for {@code
 * kvmirq decode}: the format's name and the words.
 */
public interface Structure {
    /** The format, which defines the structure's words and fields. */
    Format format();

    /** A copy of the structure's 64-bit words. */
    long[] bits();

    /** A field's value in this structure, unsigned. */
    default long get(Field field) {
        return field.value(bits());
    }

    /** Whether any bit of a field is set in this structure. */
    default boolean is(BitField field) {
        return field.isSet(bits()[field.word()]);
    }

    /** The violations of the manual's rules. */
    default List<Violation> violations() {
        return format().violations(bits());
    }
}
