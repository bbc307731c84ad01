/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import java.util.Objects;
import java.util.Optional;

/**
 * A fact of a {@link ForwardedPath}, with its source. Immutable.
 *
 * @param <T> its value
 */
public sealed interface PathField<T> {
    /** The value, whatever its source; empty if it is unknown. */
    Optional<T> value();

    /** A fact that a file of the host shows. */
    record Observed<T>(T seen) implements PathField<T> {
        public Observed {
            Objects.requireNonNull(seen, "seen is null");
        }

        @Override
        public Optional<T> value() {
            return Optional.of(seen);
        }

        @Override
        public String toString() {
            return seen + " (observed)";
        }
    }

    /** A fact that this process set up. */
    record SetUp<T>(T made) implements PathField<T> {
        public SetUp {
            Objects.requireNonNull(made, "made is null");
        }

        @Override
        public Optional<T> value() {
            return Optional.of(made);
        }

        @Override
        public String toString() {
            return made + " (set up)";
        }
    }

    /** A fact that follows from the set-up by the rules of kernel and hardware. */
    record Predicted<T>(T expected) implements PathField<T> {
        public Predicted {
            Objects.requireNonNull(expected, "expected is null");
        }

        @Override
        public Optional<T> value() {
            return Optional.of(expected);
        }

        @Override
        public String toString() {
            return expected + " (predicted)";
        }
    }

    /** An unknown fact; {@code reason} is a few words. */
    record Unknown<T>(String reason) implements PathField<T> {
        public Unknown {
            Objects.requireNonNull(reason, "reason is null");
        }

        @Override
        public Optional<T> value() {
            return Optional.empty();
        }

        @Override
        public String toString() {
            return "unknown: " + reason;
        }
    }
}
