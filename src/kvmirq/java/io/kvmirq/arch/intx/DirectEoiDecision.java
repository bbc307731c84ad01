/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

import java.util.List;
import java.util.Objects;

/** Whether an interrupt may have direct EOI, and if not, why. {@link DirectEoiPolicy#decide} makes it. */
public sealed interface DirectEoiDecision {
    /** No other device waits for this guest's EOI. {@code breaks}: costs for other users of the line, and others. */
    record Allowed(List<Breakage> breaks) implements DirectEoiDecision {
        public Allowed {
            Objects.requireNonNull(breaks, "breaks is null");
        }
    }

    /** The interrupt is masked automatically, for all these reasons, in the order of {@link NotDirect}. */
    record Refused(List<NotDirect> reasons) implements DirectEoiDecision {
        public Refused {
            Objects.requireNonNull(reasons, "reasons is null");
        }
    }

    /**
     * Allowed since the administrator asserts that no other device on the line matters. {@code breaks} is the breakage
     * if the assertion is wrong, and every other one.
     */
    record AllowedByAssertion(List<NotDirect> outweighed, List<Breakage> breaks) implements DirectEoiDecision {
        public AllowedByAssertion {
            Objects.requireNonNull(outweighed, "outweighed is null");
            Objects.requireNonNull(breaks, "breaks is null");
        }
    }
}
