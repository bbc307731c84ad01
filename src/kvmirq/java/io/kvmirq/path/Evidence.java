/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import java.util.Locale;
import java.util.Objects;

/**
 * The evidence for a fact. Immutable.
 *
 * @param from the file or the reasoning, a clause without a full stop that can contain names from files
 */
public record Evidence(Kind kind, String from) {
    public Evidence {
        Objects.requireNonNull(kind, "kind is null");
        Objects.requireNonNull(from, "from is null");
    }

    /** The kinds of evidence, strongest first. */
    public enum Kind {
        /** The fact is true because this process set it up. */
        SET_UP,
        /** A host file or a probe shows the fact. */
        OBSERVED,
        /** The fact follows from files if the VMM and the guest behave as usual. */
        INFERRED,
        /** The fact follows from the rules of the hardware and the kernel. No file shows it. */
        PREDICTED;

        /** The kind in words, such as {@code set up}. */
        public String label() {
            return name().toLowerCase(Locale.ROOT).replace('_', ' ');
        }
    }

    /** Evidence from a file or a probe, which {@code from} names. */
    public static Evidence observed(String from) {
        return new Evidence(Kind.OBSERVED, from);
    }

    /** Evidence concluded from files by the reasoning {@code from}. */
    public static Evidence inferred(String from) {
        return new Evidence(Kind.INFERRED, from);
    }

    /** Evidence from the rules of the hardware and the kernel, by the reasoning {@code from}. */
    public static Evidence predicted(String from) {
        return new Evidence(Kind.PREDICTED, from);
    }

    /** Wraps a value that is known by this kind of evidence. */
    <T> Known<T> known(T value) {
        return switch (kind) {
            case SET_UP -> new Known.SetUp<>(value);
            case OBSERVED -> new Known.Observed<>(value);
            case INFERRED -> new Known.Inferred<>(value);
            case PREDICTED -> new Known.Predicted<>(value);
        };
    }

    /** The kind and {@code from} in one line. */
    @Override
    public String toString() {
        return kind.label() + ": " + from;
    }
}
