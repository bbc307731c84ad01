/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import java.util.Objects;

/**
 * A field of a hardware structure, such as {@code nv} of a posted-interrupt descriptor. Immutable.
 *
 * @param name the field's name in Linux's definition of the structure
 * @param value the unsigned value, or the reason why it is not known
 */
public record FieldValue(String name, Known<Long> value) {
    public FieldValue {
        Objects.requireNonNull(name, "name is null");
        Objects.requireNonNull(value, "value is null");
    }

    /** The name and value, such as {@code nv=0xf2}, or the name and reason. */
    @Override
    public String toString() {
        return value.known()
                .map(known -> name + "=0x" + Long.toHexString(known))
                .orElseGet(() -> name + " " + value);
    }
}
