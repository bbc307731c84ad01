/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.util.List;
import java.util.Objects;

/**
 * A value split over two bit ranges, in one word or two. Reading it through a static final constant costs two shifts.
 *
 * @param name the field's name in the kernel's definition of the structure
 * @param lower the low bits of the value
 * @param upper the high bits of the value
 * @param description the field's label, meaning, role and rules
 */
public record SplitField(String name, BitField lower, BitField upper, Description description) implements Field {
    public SplitField {
        Objects.requireNonNull(name, "name is null");
        Objects.requireNonNull(lower, "lower is null");
        Objects.requireNonNull(upper, "upper is null");
        Objects.requireNonNull(description, "description is null");
    }

    @Override
    public List<BitField> parts() {
        return List.of(lower, upper);
    }

    /** Reads the value from the words that hold {@link #lower} and {@link #upper}. */
    public long of(long lowerWord, long upperWord) {
        return lower.of(lowerWord) | upper.of(upperWord) << lower.width();
    }

    @Override
    public String toString() {
        return name;
    }
}
