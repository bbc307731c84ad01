/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import java.util.Locale;

/**
 * The evidence for a fact. Immutable.
 *
 * @param kind the kind of evidence
 * @param from the file, or the reasoning: a clause without a full stop. It may hold names from files
 */
public record Evidence(Kind kind, String from) {
    /** The kinds of evidence, strongest first. */
    public enum Kind {
        /** A file of the host shows it. */
        OBSERVED,
        /** It follows from what files show, if the process does what such processes do. */
        INFERRED,
        /** It follows from the rules of hardware and kernel; no file shows it. */
        PREDICTED;

        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    public static Evidence observed(String file) {
        return new Evidence(Kind.OBSERVED, file);
    }

    /** It follows from what files show. */
    public static Evidence inferred(String why) {
        return new Evidence(Kind.INFERRED, why);
    }

    /** Rules say so. */
    public static Evidence predicted(String why) {
        return new Evidence(Kind.PREDICTED, why);
    }

    /** Kind and origin in one line. */
    @Override
    public String toString() {
        return kind.label() + ": " + from;
    }
}
