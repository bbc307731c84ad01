/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import java.util.Locale;
import java.util.Objects;

/**
 * The evidence for a fact. Immutable.
 *
 * @param kind the kind of evidence
 * @param from the file, or the reasoning: a clause without a full stop. It may hold names from files
 */
public record Evidence(Kind kind, String from) {
    public Evidence {
        Objects.requireNonNull(kind, "kind is null");
        Objects.requireNonNull(from, "from is null");
    }

    /** The kinds of evidence, strongest first. */
    public enum Kind {
        /** This process set up the fact. */
        SET_UP,
        /** A file or a probe of the host shows it. */
        OBSERVED,
        /**
         * The fact was concluded from files, on the assumption that the process does what such processes usually do.
         */
        INFERRED,
        /** The fact follows from the rules of hardware and kernel; no file shows it. */
        PREDICTED;

        /** The name in words. */
        public String label() {
            return name().toLowerCase(Locale.ROOT).replace('_', ' ');
        }
    }

    /** A file or a probe shows it. */
    public static Evidence observed(String from) {
        return new Evidence(Kind.OBSERVED, from);
    }

    /** It follows from what files show. */
    public static Evidence inferred(String from) {
        return new Evidence(Kind.INFERRED, from);
    }

    /** Rules say so. */
    public static Evidence predicted(String from) {
        return new Evidence(Kind.PREDICTED, from);
    }

    /** Kind and origin in one line. */
    @Override
    public String toString() {
        return kind.label() + ": " + from;
    }
}
