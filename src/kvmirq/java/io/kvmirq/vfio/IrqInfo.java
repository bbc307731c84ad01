/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.IrqKind;
import io.kvmirq.uapi.UapiVfio;
import java.util.Objects;

/** VFIO's description of an interrupt kind: how many the device has, possibly 0, and the VFIO_IRQ_INFO_* flags. */
public record IrqInfo(IrqKind kind, int count, int flags) {
    public IrqInfo {
        Objects.requireNonNull(kind, "kind is null");
    }

    /** Whether the interrupts can signal eventfds. */
    public boolean eventfd() {
        return (flags & UapiVfio.VFIO_IRQ_INFO_EVENTFD) != 0;
    }

    /** Whether the interrupts can be masked. */
    public boolean maskable() {
        return (flags & UapiVfio.VFIO_IRQ_INFO_MASKABLE) != 0;
    }

    /** Whether the kernel masks an interrupt at each signal, until a program unmasks it. */
    public boolean automasked() {
        return (flags & UapiVfio.VFIO_IRQ_INFO_AUTOMASKED) != 0;
    }

    /** Whether all vectors must be disabled to add vectors. Interrupts raised in between may be lost. */
    public boolean noResize() {
        return (flags & UapiVfio.VFIO_IRQ_INFO_NORESIZE) != 0;
    }

    /** Whether the bus driver, not the device, raises the interrupt. */
    boolean isNotice() {
        return kind == IrqKind.ERROR || kind == IrqKind.REQUEST;
    }

    /** Whether this is one of INTx, MSI and MSI-X, which exclude each other. */
    boolean excludesOthers() {
        return kind == IrqKind.INTX || kind == IrqKind.MSI || kind == IrqKind.MSIX;
    }

    /** Rejects vectors that the device does not have. */
    void requireVectors(int first, int wanted, Object device) {
        String label = kind.label();
        if (count == 0) {
            throw new IllegalArgumentException(device + " has no " + label + (isNotice() ? " interrupt" : ""));
        }
        if (wanted < 1) {
            throw new IllegalArgumentException(wanted + " vectors of " + label + ": expected at least 1");
        }
        if (first < 0 || first > count - wanted) {
            throw new IllegalArgumentException(label + " " + numbered(first, wanted) + " of " + device
                    + (wanted == 1 ? " does" : " do") + " not exist: the device has " + label + " "
                    + numbered(0, count));
        }
    }

    private static String numbered(int first, int count) {
        return first + (count == 1 ? "" : "-" + ((long) first + count - 1));
    }
}
