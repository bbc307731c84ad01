/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.intx.model.PhysicalLine.Taken;

/**
 * VFIO's state of a PCI device's INTx, or of a platform device's level-triggered interrupt. VFIO chooses one of two
 * handlers: automatic mask or direct EOI. A user's mask and the automatic mask set the same flag "masked". A method
 * about INTx, MSI or MSI-X throws IllegalStateException if the device is not in this mode.
 *
 * <p>Rules of this model that differ from Linux:
 *
 * <ul>
 * <li>To mask a device at the controller, the model disables its line once. If the handler runs after a user's mask,
 * vfio-pci disables the line twice, so that it stays disabled.
 * <li>One lock covers a handler's run and the choice of the handler. Direct EOI leaves an interrupt active only if the
 * handler has signalled the guest. No released kernel has direct EOI for VFIO.
 * <li>The model writes the guest's DisINTx under both of its locks; {@code vfio_basic_config_write} takes no lock.
 * <li>{@link #close} sets DisINTx before it frees the handler, and leaves it set. Linux frees the handler first, sets
 * DisINTx only during the reset, and then clears it: a device that cannot be reset asserts its line without a handler.
 * <li>A loopback of a platform device masks the device even if direct EOI is chosen.
 * </ul>
 *
 * <p>Safe for use by any number of threads. Methods that a user calls hold an outer lock, like {@code igate} of VFIO.
 * The handler and the unmask eventfd run without this lock. Source: drivers/vfio/pci/vfio_pci_intrs.c and
 * drivers/vfio/platform/vfio_platform_irq.c of Linux 7.1.
 */
public class VfioIntx extends IntxState {
    private final int handler;

    VfioIntx(IntxDevice device, boolean nointxmask, SharedWords words, int base) {
        super(device, nointxmask, words, base);
        device.claim();
        this.handler = line.add(this::handle);
    }

    /**
     * Creates the state of a device on which INTx, MSI and MSI-X are off. If {@code nointxmask}, vfio-pci's parameter,
     * is true, a mask disables the line at the interrupt controller, even if the device has DisINTx. The handler stays
     * reserved until {@link #remove}. Throws IllegalStateException if the line has 64 handlers, or the device has a
     * handler.
     */
    public static VfioIntx create(IntxDevice device, boolean nointxmask) {
        return new VfioIntx(device, nointxmask, SharedWords.of(new long[WORDS]), 0);
    }

    /** Enables INTx. Only a device that masks by DisINTx shares a line. Returns false if the line is busy. */
    public boolean enable(Signal eventfd) {
        return enable(eventfd, masksAtDevice());
    }

    /** Enables INTx like {@link #enable}, if no other handler has the line. */
    public boolean enableExclusive(Signal eventfd) {
        return enable(eventfd, false);
    }

    private boolean enable(Signal eventfd, boolean shared) {
        gate.take();
        try (gate) {
            check(InterruptMode.NONE);
            openLocked();
            boolean masked = isPlatform() ? isMasked() : isVirtuallyDisabled();
            words.set(at(MASKED), masked ? 1 : 0);
            if (masksAtDevice()) {
                device.disable(masked);
            }
            words.set(at(TRIGGER), 0);
            setTrigger(eventfd);
            setMode(InterruptMode.INTX);
            boolean granted = line.request(handler, shared, masksAtDevice() || !masked);
            if (!granted) {
                setMode(InterruptMode.NONE);
            }
            return granted;
        }
    }

    /**
     * Waits until no handler runs, and disables INTx. Deactivates an interrupt that waits for this guest's EOI, unless
     * another device on the line also waits for an EOI. The next {@link #enable} keeps the choice of the handler.
     */
    public void disable() {
        gate.take();
        try (gate) {
            check(InterruptMode.INTX);
            removeUnmaskEvent();
            freeLine();
        }
    }

    private void freeLine() {
        line.free(handler);
        setMode(InterruptMode.NONE);
        endDirect();
    }

    /** Deactivates an interrupt that waits only for this guest's EOI, because the EOI may never come. */
    public void endDirect() {
        line.end(handler);
    }

    /** Handles the guest's EOI of a line with direct EOI. Does nothing after {@link #endDirect}. */
    public void deactivate() {
        line.deactivate(handler);
    }

    /**
     * Models the last close: removes the unmask eventfd, whose signal would clear DisINTx, then sets DisINTx and
     * disables INTx. The next user of the device starts with the automatic mask. Until {@link #open}, {@link #mask}
     * does nothing.
     */
    public void close() {
        gate.take();
        try (gate) {
            closeDevice();
        }
    }

    private void closeDevice() {
        removeUnmaskEvent();
        device.shut();
        if (mode() == InterruptMode.INTX) {
            freeLine();
        }
        setMode(InterruptMode.NONE);
        chooseAutoMask();
        words.set(at(VIRTUAL_DISINTX), 0);
        words.set(at(MASKED), 0);
        words.set(at(CLOSED), 1);
    }

    /** Removes the device from the host and its line, while no thread uses it. Fails if INTx, MSI or MSI-X is on. */
    public void remove() {
        check(InterruptMode.NONE);
        line.remove(handler);
        line.disconnect(device);
    }

    /** Sets the eventfd whose past and future signals unmask the device. Returns false (EBUSY) if another is set. */
    public boolean setUnmaskEvent(LineEvent event) {
        gate.take();
        try (gate) {
            check(InterruptMode.INTX);
            boolean free = words.get(at(UNMASK)) == 0;
            if (free) {
                unmaskEvent = event;
                words.set(at(UNMASK), 1);
                event.listen(this::unmaskAndSignal);
            }
            return free;
        }
    }

    /**
     * Chooses direct EOI: {@code eventfd} is signalled instead of the trigger, and the guest interrupt of {@code
     * eventfd} is mapped to the physical interrupt. Throws IllegalStateException for the line of an IOAPIC.
     */
    public void chooseDirect(Signal eventfd) {
        if (line.controller() != LineController.GIC) {
            throw new IllegalStateException("an " + line.controller()
                    + " ends an interrupt when the handlers return: direct EOI needs a line of a GIC");
        }
        words.lock(at(LOCK));
        mapped = eventfd;
        words.set(at(DIRECT), 1);
        words.unlock(at(LOCK));
    }

    /** Chooses the handler that masks the line at each interrupt and signals the eventfd of {@link #enable}. */
    public void chooseAutoMask() {
        words.lock(at(LOCK));
        words.set(at(DIRECT), 0);
        words.unlock(at(LOCK));
    }

    Taken handle() {
        Taken taken;
        lock.take();
        try (lock) {
            if (isDirect() && !isMasked() && reaches()) {
                // Signals under the lock, before the guest can write DisINTx.
                signalMapped();
                taken = Taken.DIRECT;
            } else {
                taken = maskForGuest() ? Taken.HANDLED : Taken.NONE;
            }
        }
        if (taken == Taken.HANDLED) {
            signal();
        }
        return taken;
    }

    /** @return whether this device interrupted */
    boolean maskForGuest() {
        boolean masked = isMasked();
        if (!masked && (!masksAtDevice() || device.checkAndMask())) {
            if (!masksAtDevice()) {
                line.disable();
            }
            words.set(at(MASKED), 1);
            return true;
        }
        return !masksAtDevice() && !isPlatform();
    }

    /** Signals the trigger eventfd like an interrupt. Masks a platform device first; does nothing if it is masked. */
    public void loopback() {
        gate.take();
        try (gate) {
            check(InterruptMode.INTX);
            if (!isPlatform() || maskForGuestAlone()) {
                signal();
            }
        }
    }

    private boolean maskForGuestAlone() {
        lock.take();
        try (lock) {
            return maskForGuest();
        }
    }

    /** Masks the device. If INTx is off, sets DisINTx; a platform device starts masked. Does not allocate. */
    public void mask() {
        gate.take();
        try (gate) {
            if (!isClosed()) {
                maskAlone();
            }
        }
    }

    void maskAlone() {
        lock.take();
        try (lock) {
            maskLocked();
        }
    }

    private void maskLocked() {
        if (mode() != InterruptMode.INTX) {
            if (masksAtDevice()) {
                device.disable(true);
            } else if (isPlatform()) {
                words.set(at(MASKED), 1);
            }
        } else if (!isMasked()) {
            if (masksAtDevice()) {
                device.disable(true);
            } else {
                line.disable();
            }
            words.set(at(MASKED), 1);
        }
    }

    /**
     * Unmasks the device unless the guest has set DisINTx. If a device that masks by DisINTx still requests service,
     * the device stays masked and VFIO signals the guest again. Does not allocate.
     */
    public void unmask() {
        gate.take();
        try (gate) {
            if (!isClosed()) {
                unmaskAndSignal();
            }
        }
    }

    private void unmaskAndSignal() {
        boolean again;
        lock.take();
        try (lock) {
            again = unmaskLocked();
        }
        if (again) {
            signal();
        }
    }

    /** @return whether the device still requests service, and stays masked */
    boolean unmaskLocked() {
        if (mode() != InterruptMode.INTX) {
            if (masksAtDevice()) {
                device.disable(false);
            } else if (isPlatform()) {
                words.set(at(MASKED), 0);
            }
            return false;
        }
        if (!isMasked() || isVirtuallyDisabled()) {
            return false;
        }
        boolean again = false;
        if (!masksAtDevice()) {
            line.enable();
        } else {
            again = !device.checkAndUnmask();
        }
        words.set(at(MASKED), again ? 1 : 0);
        return again;
    }

    /**
     * Handles the guest's write to DisINTx, which VFIO emulates: while the guest's DisINTx is set, VFIO does not signal
     * or unmask; clearing it unmasks. Throws IllegalStateException for a platform device.
     */
    public void writeDisIntx(boolean disabled) {
        if (isPlatform()) {
            throw new IllegalStateException("a platform device has no DisINTx: mask it instead");
        }
        gate.take();
        try (gate) {
            if (!isClosed() && writeDisIntxAlone(disabled)) {
                signal();
            }
        }
    }

    private boolean writeDisIntxAlone(boolean disabled) {
        lock.take();
        try (lock) {
            boolean before = isVirtuallyDisabled();
            words.set(at(VIRTUAL_DISINTX), disabled ? 1 : 0);
            boolean again = false;
            if (disabled && !before) {
                maskLocked();
            } else if (!disabled && before) {
                again = unmaskLocked();
            }
            return again;
        }
    }
}
