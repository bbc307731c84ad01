/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/** The kind of a device interrupt. */
public enum IrqKind {
    /** A PCI function's level-triggered interrupt pin. */
    INTX("INTx"),
    /** Up to 32 message-signalled interrupts, all sent to the address in the function's MSI capability. */
    MSI("MSI"),
    /** Message-signalled interrupts with a table of one message and one mask bit per vector. */
    MSIX("MSI-X"),
    /** Signals an uncorrectable error of a PCI Express device. */
    ERROR("error"),
    /** Signals that the host wants the device back. The user should stop using the device and close it. */
    REQUEST("request"),
    /** A platform device's interrupt. */
    PLATFORM("platform");

    private final String label;

    IrqKind(String label) {
        this.label = label;
    }

    /** The name shown to users, such as {@code MSI-X}. */
    public String label() {
        return label;
    }
}
