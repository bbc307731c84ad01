/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.List;

/**
 * The words of one hardware structure. Any bits are accepted. {@code toString} returns the format's name and the words
 * for {@code kvmirq decode}.
 */
public interface Structure {
    /** The format of the structure: its words and its fields. */
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

    /** The rules of the manual that the bits break. */
    default List<Violation> violations() {
        return format().violations(bits());
    }
}
