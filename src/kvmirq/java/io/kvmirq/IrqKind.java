/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/** Kinds of a device's interrupts. */
public enum IrqKind {
    /** The interrupt pin of a PCI device; level-triggered. */
    INTX("INTx"),
    /** Message-signalled interrupts of a device that has no table of messages. */
    MSI("MSI"),
    /** Message-signalled interrupts; the device has a table of messages, with a mask bit for each vector. */
    MSIX("MSI-X"),
    /** The interrupt by which a PCI Express device reports an uncorrectable error. */
    ERROR("error"),
    /** The interrupt by which the host requests the device back: stop using the device and close it. */
    REQUEST("request"),
    /** One interrupt of a platform device. */
    PLATFORM("platform");

    private final String label;

    IrqKind(String label) {
        this.label = label;
    }

    /** The name of the kind in texts for users, such as {@code MSI-X}. */
    public String label() {
        return label;
    }
}
