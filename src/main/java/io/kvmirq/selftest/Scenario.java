/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;

/** The scenarios of the self-test. */
public enum Scenario {
    /** An MSI reaches the guest and the guest answers, many times. */
    EDGE("eventfd → irqfd → MSI route → guest handler → OUT → ioeventfd"),
    /** A line stays high until the guest's EOI. */
    LEVEL("eventfd → irqfd → IOAPIC pin, high until EOI → resamplefd"),
    /** 64 vectors are raised at once; each reaches its own handler. */
    MANY("64 eventfds → 64 irqfds → 64 vectors → 64 handler slots"),
    /** Deassigning an irqfd keeps the interrupt; removing its route loses it. */
    MASK("irqfd deassigned, signalled, assigned: arrives once"),
    /** The route changes while interrupts flow. */
    REROUTE("MSI route changes between two vectors while events flow"),
    /** No vCPU runs. The interrupt waits in the IRR of the LAPIC. */
    GUESTLESS("eventfd → irqfd → MSI route → LAPIC IRR, no vCPU runs");

    private final String way;

    Scenario(String way) {
        this.way = way;
    }

    /** The path of the interrupt, in words. */
    public String way() {
        return way;
    }

    /** Whether the scenario uses a pin of the in-kernel IOAPIC. */
    boolean needsPins() {
        return this == LEVEL;
    }

    /** The name in lower case, as users type it and JSON shows it. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }

    public static Optional<Scenario> of(String label) {
        return Arrays.stream(values())
                .filter(scenario -> scenario.label().equals(label))
                .findFirst();
    }
}
