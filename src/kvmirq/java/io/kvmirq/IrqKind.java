/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/** Kinds of a device's interrupts. */
public enum IrqKind {
    /** The interrupt pin of a PCI device; level-triggered. */
    INTX("INTx"),
    /** Message-signalled interrupts without a table: one address and data in the MSI capability, for up to 32 vectors. */
    MSI("MSI"),
    /** Message-signalled interrupts with a table that has a message and a mask bit per vector. */
    MSIX("MSI-X"),
    /** Signals an uncorrectable error of a PCI Express device. */
    ERROR("error"),
    /** Signals that the host wants the device back: stop using it and close it. */
    REQUEST("request"),
    /** One interrupt of a platform device. */
    PLATFORM("platform");

    private final String label;

    IrqKind(String label) {
        this.label = label;
    }

    /** The kind's name in texts for users, such as {@code MSI-X}. */
    public String label() {
        return label;
    }
}
