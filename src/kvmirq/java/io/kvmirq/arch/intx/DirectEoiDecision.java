/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

import java.util.List;
import java.util.Objects;

/** Whether an interrupt may have direct EOI, and if not, why. {@link DirectEoiPolicy#decide} makes it. */
public sealed interface DirectEoiDecision {
    /**
     * No other device waits for this guest's EOI.
     *
     * @param breaks the costs of an exclusive line for other users, and every other breakage
     */
    record Allowed(List<Breakage> breaks) implements DirectEoiDecision {
        public Allowed {
            Objects.requireNonNull(breaks, "breaks is null");
        }
    }

    /**
     * The interrupt is masked automatically.
     *
     * @param reasons all reasons that hold, in the order of {@link NotDirect}
     */
    record Refused(List<NotDirect> reasons) implements DirectEoiDecision {
        public Refused {
            Objects.requireNonNull(reasons, "reasons is null");
        }
    }

    /**
     * Other devices may wait for this guest's EOI. Direct EOI is allowed since the administrator asserts that none of
     * them matters.
     *
     * @param outweighed the reasons against it
     * @param breaks the breakage if the assertion is wrong, and every other breakage
     */
    record AllowedByAssertion(List<NotDirect> outweighed, List<Breakage> breaks) implements DirectEoiDecision {
        public AllowedByAssertion {
            Objects.requireNonNull(outweighed, "outweighed is null");
            Objects.requireNonNull(breaks, "breaks is null");
        }
    }
}
