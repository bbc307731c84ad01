/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import java.util.Objects;

/** A field of an entry or a descriptor, by its name in the kernel's definition. Immutable. */
public sealed interface PredictedField {
    /** The name of the field. */
    String name();

    /** The field has a predicted, unsigned value. */
    record Known(String name, long value) implements PredictedField {
        public Known {
            Objects.requireNonNull(name, "name is null");
        }

        @Override
        public String toString() {
            return name + "=0x" + Long.toHexString(value);
        }
    }

    /** The mirror does not predict the field; {@code reason} is a few words. */
    record Unknown(String name, String reason) implements PredictedField {
        public Unknown {
            Objects.requireNonNull(name, "name is null");
            Objects.requireNonNull(reason, "reason is null");
        }

        @Override
        public String toString() {
            return name + " unknown: " + reason;
        }
    }
}
