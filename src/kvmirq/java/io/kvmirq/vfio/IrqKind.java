/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

/** Kinds of a device's interrupts. */
public enum IrqKind {
    /** The interrupt pin of a PCI device; level-triggered. */
    INTX("INTx"),
    /** Messages, without a table. */
    MSI("MSI"),
    /** Messages, in a table with a mask bit each. */
    MSIX("MSI-X"),
    /** The device reports an error that it cannot correct; PCI Express. */
    ERROR("error"),
    /** The host asks for the device back: stop using it and close it. */
    REQUEST("request"),
    /** One interrupt of a platform device. */
    PLATFORM("platform");

    private final String label;

    IrqKind(String label) {
        this.label = label;
    }

    /** As messages name it. */
    public String label() {
        return label;
    }

    /** Whether the bus driver raises it, and not the device. */
    boolean isNotice() {
        return this == ERROR || this == REQUEST;
    }

    /** Whether a device uses only one kind of these at a time. */
    boolean excludesOthers() {
        return this == INTX || this == MSI || this == MSIX;
    }
}
