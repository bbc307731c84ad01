/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import java.util.Locale;
import java.util.Objects;

/**
 * The evidence for a fact. Immutable.
 *
 * @param from the file, or the reasoning: a clause without a full stop, which may contain names from files
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
        /** The fact was concluded from files, on the assumption that VMM and guest behave as usual. */
        INFERRED,
        /** The fact follows from the rules of hardware and kernel; no file shows it. */
        PREDICTED;

        /** The kind in words, such as {@code set up}. */
        public String label() {
            return name().toLowerCase(Locale.ROOT).replace('_', ' ');
        }
    }

    /** Evidence that a file or a probe shows; {@code from} names the file or the probe. */
    public static Evidence observed(String from) {
        return new Evidence(Kind.OBSERVED, from);
    }

    /** Evidence that is concluded from files; {@code from} is the reasoning. */
    public static Evidence inferred(String from) {
        return new Evidence(Kind.INFERRED, from);
    }

    /** Evidence from the rules of hardware and kernel; {@code from} is the reasoning. */
    public static Evidence predicted(String from) {
        return new Evidence(Kind.PREDICTED, from);
    }

    /** A value that this evidence shows. */
    <T> Known<T> known(T value) {
        return switch (kind) {
            case SET_UP -> new Known.SetUp<>(value);
            case OBSERVED -> new Known.Observed<>(value);
            case INFERRED -> new Known.Inferred<>(value);
            case PREDICTED -> new Known.Predicted<>(value);
        };
    }

    /** The kind of the evidence, and the file or reasoning {@code from}, in one line. */
    @Override
    public String toString() {
        return kind.label() + ": " + from;
    }
}
