/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.arch.SharedWords;
import org.jspecify.annotations.Nullable;

/** VFIO's state of a device, in shared words. Safe for use by any number of threads. */
abstract class IntxState {
    /** {@code igate}: held by all calls of a user and by configuration writes of the guest. Taken before LOCK. */
    static final int GATE = 0;
    /** {@code irqlock}: held by the handlers and by an unmask. With a handler or an unmask eventfd it guards MASKED. */
    static final int LOCK = 1;

    static final int MASKED = 2;
    /** {@code virq_disabled}, the guest's virtual DisINTx. Written under both locks. */
    static final int VIRTUAL_DISINTX = 3;
    /** The mode. Changed under GATE, while there is no handler and no unmask eventfd. */
    static final int MODE = 4;
    /** Whether the direct EOI handler is chosen. */
    static final int DIRECT = 5;
    /** The number of the current trigger, from 1; 0 for none. */
    static final int TRIGGER = 6;
    /** Whether there is an unmask eventfd. */
    static final int UNMASK = 7;
    /** Whether the device was closed and is not in use again. */
    static final int CLOSED = 8;

    static final int WORDS = 9;

    private static final InterruptMode[] MODES = InterruptMode.values();

    final IntxDevice device;
    final PhysicalLine line;
    final SharedWords words;
    private final int base;
    final WordLock gate;
    final WordLock lock;
    private final boolean atDevice;
    /** The triggers. A new one goes to an unused place, under GATE, while no thread signals that place. */
    private final @Nullable Signal[] triggers = new Signal[3];

    volatile @Nullable Signal mapped;
    /** Guarded by GATE. */
    @Nullable
    LineEvent unmaskEvent;

    IntxState(IntxDevice device, boolean nointxmask, SharedWords words, int base) {
        this.device = device;
        this.line = device.line();
        this.words = words;
        this.base = base;
        this.gate = new WordLock(words, at(GATE));
        this.lock = new WordLock(words, at(LOCK));
        this.atDevice = device.kind() == IntxDevice.Kind.PCI_2_3 && !nointxmask;
    }

    int at(int word) {
        return base + word;
    }

    /** Whether a mask of the device sets DisINTx, so that the device can share its line. */
    public boolean masksAtDevice() {
        return atDevice;
    }

    public InterruptMode mode() {
        return MODES[(int) words.get(at(MODE))];
    }

    /** Whether the device is masked, by a user or by the handler. */
    public boolean isMasked() {
        return words.get(at(MASKED)) != 0;
    }

    public boolean isDirect() {
        return words.get(at(DIRECT)) != 0;
    }

    boolean isVirtuallyDisabled() {
        return words.get(at(VIRTUAL_DISINTX)) != 0;
    }

    boolean isClosed() {
        return words.get(at(CLOSED)) != 0;
    }

    /** Opens a closed device: DisINTx is clear, and masking works again. Enabling a mode opens it too. */
    public void open() {
        gate.take();
        try (gate) {
            openLocked();
        }
    }

    /** {@code pci_enable_device} clears DisINTx. */
    void openLocked() {
        if (isClosed()) {
            words.set(at(CLOSED), 0);
            if (device.kind() == IntxDevice.Kind.PCI_2_3) {
                device.disable(false);
            }
        }
    }

    boolean isPlatform() {
        return device.kind() == IntxDevice.Kind.PLATFORM;
    }

    @SuppressWarnings("EnumOrdinal") // Sets the mode; the word holds its ordinal.
    void setMode(InterruptMode mode) {
        words.set(at(MODE), mode.ordinal());
    }

    void check(InterruptMode expected) {
        InterruptMode mode = mode();
        if (mode != expected) {
            throw new IllegalStateException("the device is in mode " + mode + ": expected " + expected
                    + (expected == InterruptMode.NONE ? "; disable that mode first" : "; enable it first"));
        }
    }

    /**
     * Enables MSI or MSI-X: the line is not asserted, and DisINTx is set if the device has it. Throws
     * IllegalStateException if the device is in another mode already, or is a platform device.
     */
    public void enableMessages(InterruptMode mode) {
        if (mode != InterruptMode.MSI && mode != InterruptMode.MSIX) {
            throw new IllegalArgumentException("mode " + mode + " has no messages: expected MSI or MSIX");
        }
        if (isPlatform()) {
            throw new IllegalStateException("a platform device has no messages: enable its line instead");
        }
        gate.take();
        try (gate) {
            check(InterruptMode.NONE);
            openLocked();
            device.enableMessages();
            setMode(mode);
        }
    }

    /** Disables MSI or MSI-X. DisINTx is clear afterwards, even if a user or the guest set it, as in Linux. */
    public void disableMessages() {
        gate.take();
        try (gate) {
            if (mode() != InterruptMode.MSIX) {
                check(InterruptMode.MSI);
            }
            device.disableMessages();
            setMode(InterruptMode.NONE);
        }
    }

    void signalMapped() {
        Signal to = mapped;
        if (to != null) {
            to.signal();
        }
    }

    /** Replaces the trigger eventfd and keeps the mask. After the return, the old eventfd is not signalled any more. */
    public void trigger(Signal eventfd) {
        gate.take();
        try (gate) {
            check(InterruptMode.INTX);
            boolean first = !hasTrigger();
            setTrigger(eventfd);
            if (first && isPlatform()) {
                line.enable();
            }
            awaitSignals();
        }
    }

    /** Removes the trigger at once. INTx stays enabled; a platform device's line is disabled until the next trigger. */
    public void unwire() {
        gate.take();
        try (gate) {
            check(InterruptMode.INTX);
            if (hasTrigger() && isPlatform()) {
                line.disable();
                // A running handler still signals the old trigger: it has masked the device, so no other signal comes.
                awaitSignals();
            }
            words.set(at(TRIGGER), 0);
            awaitSignals();
        }
    }

    /** Waits for the handler and the unmask eventfd, because both may have read the old trigger. */
    void awaitSignals() {
        line.awaitHandlers();
        awaitUnmask();
    }

    void setTrigger(Signal eventfd) {
        int next = words.get(at(TRIGGER)) == 1 ? 2 : 1;
        triggers[next] = eventfd;
        words.set(at(TRIGGER), next);
    }

    boolean hasTrigger() {
        return words.get(at(TRIGGER)) != 0;
    }

    boolean reaches() {
        return mode() == InterruptMode.INTX && !isVirtuallyDisabled() && hasTrigger();
    }

    /** Signals the trigger, if the mode is INTx, the guest has not set DisINTx and there is a trigger. */
    void signal() {
        if (mode() == InterruptMode.INTX && !isVirtuallyDisabled()) {
            Signal to = triggers[(int) words.get(at(TRIGGER))];
            if (to != null) {
                to.signal();
            }
        }
    }

    /** Removes the eventfd that unmasks, if any. Waits for a running unmask. */
    public void clearUnmaskEvent() {
        gate.take();
        try (gate) {
            removeUnmaskEvent();
        }
    }

    /** Waits for an unmask by the eventfd that runs. */
    void awaitUnmask() {
        LineEvent event = unmaskEvent;
        if (event != null && words.get(at(UNMASK)) != 0) {
            event.awaitListener();
        }
    }

    void removeUnmaskEvent() {
        LineEvent event = unmaskEvent;
        if (event != null && words.get(at(UNMASK)) != 0) {
            event.unlisten();
            words.set(at(UNMASK), 0);
        }
    }
}
