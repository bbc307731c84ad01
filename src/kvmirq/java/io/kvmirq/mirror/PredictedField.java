/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.path.Known;
import java.util.Objects;

/**
 * A predicted field of a remapping entry, of an AVIC entry or of a posted-interrupt descriptor. Immutable.
 *
 * @param name the name of the field in Linux's definition of the entry or descriptor
 * @param value the predicted value, unsigned, or the reason in a few words why the mirror does not predict the field
 */
public record PredictedField(String name, Known<Long> value) {
    public PredictedField {
        Objects.requireNonNull(name, "name is null");
        Objects.requireNonNull(value, "value is null");
    }

    static PredictedField of(String name, long value) {
        return new PredictedField(name, new Known.Predicted<>(value));
    }

    static PredictedField unknown(String name, String reason) {
        return new PredictedField(name, new Known.Unknown<>(reason));
    }

    @Override
    public String toString() {
        return value.known().map(one -> name + "=0x" + Long.toHexString(one)).orElseGet(() -> name + " " + value);
    }
}
