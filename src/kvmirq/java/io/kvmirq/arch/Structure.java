/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.List;

/**
 * The words of one structure; any bits are accepted. {@code toString} returns the kind and the words, as {@code kvmirq
 * decode} accepts them.
 */
public interface Structure {
    /** The description of the structure. */
    Format format();

    /** The structure in 64-bit words, a copy. */
    long[] bits();

    /** The value of a field of this structure, unsigned. */
    default long get(Field field) {
        return field.value(bits());
    }

    /** Whether any bit of a field of this structure is set. */
    default boolean is(BitField field) {
        return field.isSet(bits()[field.word()]);
    }

    /** The rules of the manual that the bits break. */
    default List<Violation> violations() {
        return format().violations(bits());
    }
}
