/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.DeviceName;
import java.util.Objects;

/**
 * The device end of an interrupt: a vector or a line that signals an eventfd.
 *
 * @param number the MSI or MSI-X vector, the platform interrupt's number, or 0 for INTx
 */
public record Producer(DeviceName device, Kind kind, int number) {
    public Producer {
        Objects.requireNonNull(device, "device is null");
        Objects.requireNonNull(kind, "kind is null");
    }

    /** The kinds of device interrupts. */
    public enum Kind {
        /** A PCI device's interrupt line. */
        INTX("INTx"),
        /** A PCI device's MSI vector. */
        MSI("MSI"),
        /** A PCI device's MSI-X vector. */
        MSI_X("MSI-X"),
        /** A platform device's interrupt. */
        PLATFORM("platform");

        private final String label;

        Kind(String label) {
            this.label = label;
        }

        /** The kind's name in the specifications, such as {@code MSI-X}. */
        public String label() {
            return label;
        }

        /** Whether the interrupt is MSI or MSI-X. VFIO registers only MSI and MSI-X with irqbypass. */
        public boolean isMessage() {
            return this == MSI || this == MSI_X;
        }
    }

    /** The interrupt without its device, such as {@code MSI-X 3} or {@code INTx}. */
    public String interrupt() {
        return kind.label() + (kind == Kind.INTX ? "" : " " + number);
    }

    @Override
    public String toString() {
        return device + " " + interrupt();
    }
}
