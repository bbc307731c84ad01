/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;

/** What a self-test can show. */
public enum Scenario {
    /** A message-signalled interrupt there and back, many times. */
    EDGE("eventfd → irqfd → MSI route → guest handler → OUT → ioeventfd"),
    /** A line held high until the guest's EOI. */
    LEVEL("eventfd → irqfd → IOAPIC pin, high until EOI → resamplefd"),
    /** 64 vectors at once, none mistaken for another. */
    MANY("64 eventfds → 64 irqfds → 64 vectors → 64 handler slots"),
    /** An interrupt masked by deassigning its irqfd is kept; by removing its route it is lost. */
    MASK("irqfd deassigned, signalled, assigned: arrives once"),
    /** The route changes while interrupts flow. */
    REROUTE("MSI route changes between two vectors while events flow"),
    /** No vCPU runs: the interrupt waits in the LAPIC. */
    GUESTLESS("eventfd → irqfd → MSI route → LAPIC IRR, no vCPU runs");

    private final String way;

    Scenario(String way) {
        this.way = way;
    }

    /** The way of the interrupt, for people. */
    public String way() {
        return way;
    }

    /** Whether it is about a pin of the in-kernel IOAPIC. */
    boolean needsPins() {
        return this == LEVEL;
    }

    /** As typed by users and written in JSON: lower case. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }

    public static Optional<Scenario> of(String label) {
        return Arrays.stream(values())
                .filter(scenario -> scenario.label().equals(label))
                .findFirst();
    }
}
