/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import java.util.Objects;

/**
 * One entry of KVM's GSI routing table: the destination of an interrupt that is raised on {@link #gsi()}.
 *
 * <p>A GSI has either one MSI route, or irqchip routes to different chips; on arm64 it has one route.
 *
 * <p>Source: {@code struct kvm_irq_routing_entry}, {@code setup_routing_entry()} in virt/kvm/irqchip.c.
 */
public sealed interface Route {
    /** The GSI that the entry is for. */
    Gsi gsi();

    /**
     * A route to a message: to a LAPIC, without PIC or IOAPIC, or on arm64 to an ITS. If the ITS is not enabled by the
     * guest, or the message has no device id, each signal is lost, and the kernel reports no error.
     *
     * @param message the address and data that KVM delivers
     */
    record Msi(Gsi gsi, MsiMessage message) implements Route {
        public Msi {
            Objects.requireNonNull(gsi, "gsi is null");
            Objects.requireNonNull(message, "message is null");
        }
    }

    /**
     * A route to a pin of an in-kernel interrupt controller: PIC or IOAPIC on x86, the VGIC on arm64. Pin p of the VGIC
     * raises SPI p + 32; a signal to a pin beyond the VGIC's SPIs is lost.
     *
     * @param pin 0–7 on a PIC, 0–23 on the IOAPIC, 0–987 on the VGIC
     */
    record Pin(Gsi gsi, Chip chip, int pin) implements Route {
        /** A route to the pin of the VGIC that raises this SPI. */
        public static Pin to(Gsi gsi, Spi spi) {
            return new Pin(
                    gsi, Chip.VGIC, Objects.requireNonNull(spi, "spi is null").pin());
        }

        public Pin {
            Objects.requireNonNull(gsi, "gsi is null");
            Objects.requireNonNull(chip, "chip is null");
            if (pin < 0 || pin >= chip.pins) {
                throw new IllegalArgumentException(
                        "pin " + pin + " of " + chip + " does not exist: expected 0-" + (chip.pins - 1));
            }
        }
    }

    /** The interrupt controllers with pins that KVM emulates. */
    enum Chip {
        PIC_MASTER(0, 8),
        PIC_SLAVE(1, 8),
        IOAPIC(2, 24),
        /** The VGIC of arm64, the only chip there. */
        VGIC(0, Spi.LAST - Spi.FIRST + 1);

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
