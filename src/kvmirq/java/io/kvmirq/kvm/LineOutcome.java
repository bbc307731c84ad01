/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/**
 * The outcome of a change of a line; the sum over the routes of its GSI. Source: {@code kvm_set_irq()} in
 * virt/kvm/irqchip.c.
 */
public sealed interface LineOutcome {
    /** Every listener masked it, or there is no route. The kernel's status -1. */
    LineOutcome IGNORED = new Ignored();
    /** It was pending already. The kernel's status 0. */
    LineOutcome COALESCED = new Coalesced();

    /** @param count the sum of the results of all chips and LAPICs that accepted it, at least 1 */
    record Accepted(int count) implements LineOutcome {
        private static final Accepted ONE = new Accepted(1);
        private static final Accepted TWO = new Accepted(2);
    }

    /** The GSI has no route, or no chip took it because it is masked. */
    record Ignored() implements LineOutcome {}

    /** The interrupt was already pending and merged with it. */
    record Coalesced() implements LineOutcome {}

    /** Reads the status of {@code KVM_IRQ_LINE_STATUS}: -1 ignored, 0 coalesced, else a count. */
    static LineOutcome ofStatus(int status) {
        return switch (status) {
            case -1 -> IGNORED;
            case 0 -> COALESCED;
            case 1 -> Accepted.ONE;
            case 2 -> Accepted.TWO;
            default -> new Accepted(status);
        };
    }
}
