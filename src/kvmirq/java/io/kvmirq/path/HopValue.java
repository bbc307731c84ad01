/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import java.util.Objects;

/**
 * A value that an {@link InterruptPath} has in addition to its links, such as a structure that hardware reads to post
 * the interrupt. Immutable.
 *
 * @param <T> the type of the value
 * @param hop the hop that has the value
 * @param value the value with its source, or the reason why it is not known
 */
public record HopValue<T>(Hop<T> hop, Known<T> value) {
    public HopValue {
        Objects.requireNonNull(hop, "hop is null");
        Objects.requireNonNull(value, "value is null");
    }

    /** The hop's label and value in one line. */
    @Override
    public String toString() {
        return hop.label() + ": " + value;
    }
}
