/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/**
 * The outcome of setting a line, summed over the routes of its GSI. Source: {@code kvm_set_irq()} in
 * virt/kvm/irqchip.c.
 */
public sealed interface LineOutcome {
    /** Every chip masked the interrupt, or the GSI has no route. The kernel's status is -1. */
    LineOutcome IGNORED = new Ignored();
    /** The interrupt was pending already. The kernel's status is 0. */
    LineOutcome COALESCED = new Coalesced();

    /** @param count the sum of the results of all chips and LAPICs that accepted it, at least 1 */
    record Accepted(int count) implements LineOutcome {
        private static final Accepted ONE = new Accepted(1);
        private static final Accepted TWO = new Accepted(2);
    }

    /** The GSI has no route, or every chip masked the interrupt. */
    record Ignored() implements LineOutcome {}

    /** The interrupt merged with one that was already pending. */
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
