/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

import java.util.List;
import java.util.Objects;

/** Whether a guest's EOI may end the host interrupt (direct EOI), or why not, from {@link DirectEoiPolicy#decide}. */
public sealed interface DirectEoiDecision {
    /** No other device waits for this guest's EOI. {@code breaks} lists the conflicts that direct EOI causes. */
    record Allowed(List<Breakage> breaks) implements DirectEoiDecision {
        public Allowed {
            Objects.requireNonNull(breaks, "breaks is null");
        }
    }

    /** Direct EOI is refused. {@code reasons} lists every reason, in {@link NotDirect} order. */
    record Refused(List<NotDirect> reasons) implements DirectEoiDecision {
        public Refused {
            Objects.requireNonNull(reasons, "reasons is null");
        }
    }

    /**
     * Direct EOI is allowed because the administrator asserts that no other device on the line matters. {@code breaks}
     * also lists the conflicts that occur if the assertion is wrong.
     */
    record AllowedByAssertion(List<NotDirect> outweighed, List<Breakage> breaks) implements DirectEoiDecision {
        public AllowedByAssertion {
            Objects.requireNonNull(outweighed, "outweighed is null");
            Objects.requireNonNull(breaks, "breaks is null");
        }
    }
}
