/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import java.util.Locale;

/** The scenarios of the self-test. */
public enum Scenario {
    /** An MSI reaches the guest and the guest answers, many times. */
    EDGE(
            "eventfd → irqfd → MSI route → guest handler → OUT → ioeventfd",
            "eventfd → irqfd → LPI or SPI → guest handler → MMIO → ioeventfd",
            "eventfd → irqfd → pin of the VGIC → SPI pending, no guest runs"),
    /** A line stays high until the guest's EOI. */
    LEVEL(
            "eventfd → irqfd → IOAPIC pin, high until EOI → resamplefd",
            "eventfd → irqfd → level SPI, high until deactivation → resamplefd",
            "eventfd → irqfd → level SPI, high until deassigned, no guest runs"),
    /** 64 vectors are raised at once; each reaches its own handler. */
    MANY(
            "64 eventfds → 64 irqfds → 64 vectors → 64 handler slots",
            "64 eventfds → 64 irqfds → 64 LPIs or SPIs → 64 counts",
            "64 eventfds → 64 irqfds → 64 SPIs pending, no guest runs"),
    /** Deassigning an irqfd keeps the interrupt; removing its route loses it. */
    MASK(
            "irqfd deassigned, signalled, assigned: arrives once",
            "irqfd deassigned, signalled, assigned: arrives once",
            "irqfd deassigned, signalled, assigned: SPI pending, no guest runs"),
    /** The route changes while interrupts flow. */
    REROUTE(
            "MSI route changes between two vectors while events flow",
            "route changes between two LPIs or SPIs while events flow",
            "route changes between two SPIs while events flow, no guest runs"),
    /** No vCPU runs. The interrupt waits in the IRR of the LAPIC, or in the pending table of an ITS. */
    GUESTLESS(
            "eventfd → irqfd → MSI route → LAPIC IRR, no vCPU runs",
            "irqfd → MSI route → ITS → LPI pending, and a PPI, no vCPU runs",
            "irqfd → MSI route → ITS → LPI pending, and a PPI, no guest runs");

    private final String path;
    private final String pathOnArm;
    private final String pathWithoutGuest;

    Scenario(String path, String pathOnArm, String pathWithoutGuest) {
        this.path = path;
        this.pathOnArm = pathOnArm;
        this.pathWithoutGuest = pathWithoutGuest;
    }

    public String path(Irqchip irqchip) {
        return switch (irqchip) {
            case FULL, SPLIT -> path;
            case VGIC -> pathOnArm;
            case PENDING -> pathWithoutGuest;
        };
    }

    /** Whether the scenario uses a pin of the irqchip in the kernel. */
    boolean needsPins() {
        return this == LEVEL;
    }

    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
