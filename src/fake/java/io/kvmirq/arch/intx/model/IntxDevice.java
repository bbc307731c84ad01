/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.arch.SharedWords;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A device on a {@link PhysicalLine}. The device asserts the line while it requests service, unless COMMAND.DisINTx is
 * set or MSI or MSI-X is enabled. Each change is one atomic access, unless a method says otherwise. Thread-safe.
 */
public final class IntxDevice {
    public enum Kind {
        /** The device follows PCI 2.3 or later: it has STATUS.INTx and COMMAND.DisINTx. */
        PCI_2_3,
        /**
         * The device is older than PCI 2.3: it has no STATUS.INTx and COMMAND.DisINTx, so only the interrupt controller
         * can mask its interrupt.
         */
        PCI,
        /** A platform device, without STATUS.INTx and COMMAND.DisINTx, which usually has its own line. */
        PLATFORM
    }

    static final int WORDS = 1;

    private static final long INTX = 1;
    private static final long DIS_INTX = 2;
    /** Whether MSI or MSI-X is enabled, so that the device does not assert its pin. */
    private static final long MESSAGES = 4;

    private final PhysicalLine line;
    private final Kind kind;
    private final SharedWords words;
    private final int at;
    private final AtomicBoolean claimed = new AtomicBoolean();

    /** Creates an idle device. Create all devices of a line before its use; a platform device is alone on it. */
    public IntxDevice(PhysicalLine line, Kind kind) {
        this(line, kind, SharedWords.of(new long[WORDS]), 0);
    }

    IntxDevice(PhysicalLine line, Kind kind, SharedWords words, int base) {
        this.line = line;
        this.kind = kind;
        this.words = words;
        this.at = base;
        line.connect(this);
    }

    /** Notes that VFIO uses the device; IllegalStateException if it does already. */
    void claim() {
        if (!claimed.compareAndSet(false, true)) {
            throw new IllegalStateException("the device has a VfioIntx already: use that one");
        }
    }

    int at() {
        return at;
    }

    public PhysicalLine line() {
        return line;
    }

    public Kind kind() {
        return kind;
    }

    /** The device requests service: STATUS.INTx becomes set. Does not allocate. */
    public void request() {
        words.or(at, INTX);
    }

    /** The guest's driver serves the device: STATUS.INTx becomes clear. Does not allocate. */
    public void serve() {
        words.and(at, ~INTX);
    }

    public boolean isRequesting() {
        return isRequesting(words.get(at));
    }

    public boolean isAsserting() {
        return (words.get(at) & (INTX | DIS_INTX | MESSAGES)) == INTX;
    }

    /** Whether COMMAND.DisINTx is set. */
    public boolean isDisabled() {
        return (words.get(at) & DIS_INTX) != 0;
    }

    private static boolean isRequesting(long state) {
        return (state & INTX) != 0;
    }

    /** Writes COMMAND.DisINTx ({@code pci_intx}). */
    public void disable(boolean disabled) {
        checkDisIntx();
        if (disabled) {
            words.or(at, DIS_INTX);
        } else {
            words.and(at, ~DIS_INTX);
        }
    }

    /** {@code pci_check_and_mask_intx}: sets DisINTx if the device requests service; returns whether it does. */
    boolean checkAndMask() {
        boolean requesting = isRequesting();
        if (requesting) {
            words.or(at, DIS_INTX);
        }
        return requesting;
    }

    /** {@code pci_check_and_unmask_intx}: clears DisINTx and returns true if the device requests no service. */
    boolean checkAndUnmask() {
        boolean requesting = isRequesting();
        if (!requesting) {
            words.and(at, ~DIS_INTX);
        }
        return !requesting;
    }

    /** Enables MSI or MSI-X. Sets DisINTx too, if there is one ({@code pci_intx_for_msi}). */
    void enableMessages() {
        words.or(at, MESSAGES | disIntx());
    }

    /** Disables MSI or MSI-X. Clears DisINTx, even if a user or the guest set it. */
    void disableMessages() {
        words.and(at, ~(MESSAGES | disIntx()));
    }

    /** Disables MSI or MSI-X, and leaves DisINTx set if there is one. Two accesses. */
    void shut() {
        words.or(at, disIntx());
        words.and(at, ~MESSAGES);
    }

    private long disIntx() {
        return kind == Kind.PCI_2_3 ? DIS_INTX : 0;
    }

    private void checkDisIntx() {
        if (kind != Kind.PCI_2_3) {
            throw new IllegalStateException("a device of kind " + kind
                    + " has no DisINTx: expected PCI_2_3; mask the line at the interrupt controller");
        }
    }
}
