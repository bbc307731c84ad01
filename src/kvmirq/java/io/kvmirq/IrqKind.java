/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/** Kinds of a device's interrupts. */
public enum IrqKind {
    /** A PCI device's interrupt pin, which is level-triggered. */
    INTX("INTx"),
    /** Message-signalled interrupts without a table: one address and data in the MSI capability, for up to 32 vectors. */
    MSI("MSI"),
    /** Message-signalled interrupts with a table that has a message and a mask bit per vector. */
    MSIX("MSI-X"),
    /** Signals an uncorrectable error of a PCI Express device. */
    ERROR("error"),
    /** Signals that the host wants the device back: stop using it and close it. */
    REQUEST("request"),
    /** A platform device's interrupt. */
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
