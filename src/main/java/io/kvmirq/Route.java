/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/**
 * One entry of KVM's GSI routing table: the destination of an interrupt that is raised on {@link #gsi()}.
 *
 * <p>A GSI has either one MSI route, or irqchip routes to different chips. Source: {@code struct kvm_irq_routing_entry},
 * {@code setup_routing_entry()} in virt/kvm/irqchip.c.
 */
public sealed interface Route {
    /** The GSI that the entry is for. */
    Gsi gsi();

    /**
     * A route to a LAPIC by message. It passes neither PIC nor IOAPIC.
     *
     * @param message the address and data that KVM delivers
     */
    record Msi(Gsi gsi, MsiMessage message) implements Route {}

    /**
     * A route to a pin of an interrupt controller in the kernel. It needs the full irqchip.
     *
     * @param chip the controller
     * @param pin 0–7 on a PIC, 0–23 on the IOAPIC
     */
    record Pin(Gsi gsi, Chip chip, int pin) implements Route {
        public Pin {
            if (pin < 0 || pin >= chip.pins) {
                throw new IllegalArgumentException(
                        "pin " + pin + " of " + chip + " does not exist: expected 0–" + (chip.pins - 1));
            }
        }
    }

    /** The interrupt controllers that KVM emulates for an x86 guest. */
    enum Chip {
        PIC_MASTER(0, 8),
        PIC_SLAVE(1, 8),
        IOAPIC(2, 24);

        private final int id;
        private final int pins;

        Chip(int id, int pins) {
            this.id = id;
            this.pins = pins;
        }

        /** The kernel's {@code KVM_IRQCHIP_*} number. */
        public int id() {
            return id;
        }
    }
}
