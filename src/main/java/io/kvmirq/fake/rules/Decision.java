/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.rules;

import io.kvmirq.explain.Cause;
import java.util.List;
import java.util.stream.Stream;

/**
 * What a {@link KernelRule} says.
 *
 * @param grade the evidence
 * @param causes the causes of the refusal, the most likely first; empty if the rule refuses nothing
 * @param text a sentence that starts in lower case
 * @param source the kernel's file and function
 */
public record Decision(Grade grade, List<Cause> causes, String text, String source) {
    /** Copies the causes. */
    public Decision {
        causes = List.copyOf(causes);
    }

    /** A decision that refuses nothing. */
    Decision(Grade grade, String text, String source) {
        this(grade, List.of(), text, source);
    }

    /**
     * A refusal.
     *
     * @param more causes of the same refusal in other calls, with the same errno
     */
    Decision(Grade grade, Cause cause, Cause... more) {
        this(grade, Stream.concat(Stream.of(cause), Stream.of(more)).toList(), cause.text(), cause.source());
    }
}
