/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.intx.PhysicalLine.Taken;
import org.jspecify.annotations.Nullable;

/**
 * VFIO's state of a device's INTx, or of the level-triggered interrupt of a platform device, and its two handlers. One bool
 * says whether the device is masked: a user and the automatic mask set it alike.
 *
 * <p>Two rules are stricter than the sources. A device that is masked at the controller is disabled once, also if its
 * handler is late: vfio-pci disables again, and the line then stays disabled. The handler is chosen under the lock that runs
 * it, and direct EOI leaves no interrupt active that the guest is not signalled.
 *
 * <p>One thread at a time calls the methods that set up and tear down: those that enable, disable, trigger, close, and set
 * the unmask eventfd. Any thread calls the others. Source: drivers/vfio/pci/vfio_pci_intrs.c and
 * drivers/vfio/platform/vfio_platform_irq.c of Linux 7.1.
 */
public class VfioIntx {
    /** {@code irqlock}: guards MASKED, VIRTUAL_DISINTX, DIRECT and changes of MODE. */
    static final int LOCK = 0;

    static final int MASKED = 1;
    /** {@code virq_disabled}: DisINTx as the guest sees it. */
    static final int VIRTUAL_DISINTX = 2;

    static final int MODE = 3;
    /** Whether the handler is that of direct EOI. */
    static final int DIRECT = 4;
    /** Whether there is a trigger. */
    static final int TRIGGER = 5;
    /** Whether there is an unmask eventfd. */
    static final int UNMASK = 6;

    static final int WORDS = 7;

    private static final InterruptMode[] MODES = InterruptMode.values();

    final IntxDevice device;
    final SharedWords words;
    private final PhysicalLine line;
    private final int base;
    private final boolean atDevice;
    private final int handler;
    private volatile @Nullable Signal trigger;
    private volatile @Nullable Signal mapped;
    private @Nullable LineEvent unmaskEvent;

    VfioIntx(IntxDevice device, boolean nointxmask, SharedWords words, int base) {
        this.device = device;
        this.line = device.line();
        this.words = words;
        this.base = base;
        this.atDevice = device.kind() == IntxDevice.Kind.PCI_2_3 && !nointxmask;
        this.handler = line.add(this::handle);
    }

    /**
     * A device that interrupts in no way.
     *
     * @param nointxmask the module parameter of vfio-pci: mask at the interrupt controller, also if the device has DisINTx
     */
    public static VfioIntx of(IntxDevice device, boolean nointxmask) {
        return new VfioIntx(device, nointxmask, SharedWords.of(new long[WORDS]), 0);
    }

    int at(int word) {
        return base + word;
    }

    /** Whether the device is masked by DisINTx, and shares its line. Otherwise it needs the line for itself. */
    public boolean masksAtDevice() {
        return atDevice;
    }

    /** How the device interrupts. */
    public InterruptMode mode() {
        return MODES[(int) words.get(at(MODE))];
    }

    /** Whether the device is masked, by a user or by the handler. */
    public boolean isMasked() {
        return words.get(at(MASKED)) != 0;
    }

    /** Whether the handler is that of direct EOI. */
    public boolean isDirect() {
        return words.get(at(DIRECT)) != 0;
    }

    private boolean isVirtuallyDisabled() {
        return words.get(at(VIRTUAL_DISINTX)) != 0;
    }

    @SuppressWarnings("EnumOrdinal") // A mode's ordinal is the value of the word.
    private void setMode(InterruptMode mode) {
        words.set(at(MODE), mode.ordinal());
    }

    private void check(InterruptMode expected) {
        InterruptMode mode = mode();
        if (mode != expected) {
            throw new IllegalStateException("the device is in mode " + mode + ": expected " + expected
                    + (expected == InterruptMode.NONE ? "; disable that mode first" : "; enable it first"));
        }
    }

    /**
     * Enables INTx with a trigger. A device that is masked by DisINTx shares the line, any other needs it for itself.
     *
     * @return whether the line was granted; false is EBUSY, and the mode stays none
     * @throws IllegalStateException if the device is in another mode
     */
    public boolean enable(Signal eventfd) {
        return enable(eventfd, atDevice);
    }

    /** As {@link #enable}; no other handler may have the line. */
    public boolean enableExclusive(Signal eventfd) {
        return enable(eventfd, false);
    }

    private boolean enable(Signal eventfd, boolean shared) {
        check(InterruptMode.NONE);
        boolean masked = isVirtuallyDisabled();
        words.set(at(MASKED), masked ? 1 : 0);
        if (atDevice) {
            device.disable(masked);
        }
        trigger(eventfd);
        setMode(InterruptMode.INTX);
        boolean granted = line.request(handler, shared, atDevice || !masked);
        if (!granted) {
            setMode(InterruptMode.NONE);
        }
        return granted;
    }

    /** Replaces the trigger. The mask stays as it is. */
    public void trigger(Signal eventfd) {
        trigger = eventfd;
        words.set(at(TRIGGER), 1);
    }

    /** Removes the trigger. INTx stays enabled, and its interrupts go nowhere. */
    public void detach() {
        words.set(at(TRIGGER), 0);
    }

    /**
     * Disables INTx, and removes the trigger and the unmask eventfd. A running handler ends before. An interrupt that waits
     * for the guest's EOI is deactivated.
     *
     * @throws IllegalStateException if the mode is not INTx
     */
    public void disable() {
        check(InterruptMode.INTX);
        clearUnmaskEvent();
        line.free(handler);
        words.lock(at(LOCK));
        setMode(InterruptMode.NONE);
        boolean direct = isDirect();
        words.unlock(at(LOCK));
        if (direct) {
            line.deactivate();
        }
    }

    /**
     * Enables MSI or MSI-X.
     *
     * @throws IllegalArgumentException if the mode is another
     * @throws IllegalStateException if the device is in another mode already
     */
    public void enableMessages(InterruptMode mode) {
        if (mode != InterruptMode.MSI && mode != InterruptMode.MSIX) {
            throw new IllegalArgumentException("mode " + mode + " has no messages: expected MSI or MSIX");
        }
        check(InterruptMode.NONE);
        setMode(mode);
    }

    /**
     * Disables MSI or MSI-X.
     *
     * @throws IllegalStateException if the device is in neither mode
     */
    public void disableMessages() {
        if (mode() != InterruptMode.MSIX) {
            check(InterruptMode.MSI);
        }
        setMode(InterruptMode.NONE);
    }

    /**
     * The last close of the device: sets DisINTx if there is one, and disables the mode. In this order, since no handler
     * claims the interrupts of a device without its handler; Linux sets DisINTx last.
     */
    public void close() {
        if (device.kind() == IntxDevice.Kind.PCI_2_3) {
            device.disable(true);
        }
        if (mode() == InterruptMode.INTX) {
            disable();
        }
        setMode(InterruptMode.NONE);
        words.set(at(VIRTUAL_DISINTX), 0);
    }

    /**
     * Sets the eventfd that unmasks: each signal calls {@link #unmask}. A signal from before does so at once.
     *
     * @return whether it was set; false is EBUSY: there is one already
     * @throws IllegalStateException if the mode is not INTx
     */
    public boolean setUnmaskEvent(LineEvent event) {
        check(InterruptMode.INTX);
        boolean free = words.get(at(UNMASK)) == 0;
        if (free) {
            unmaskEvent = event;
            words.set(at(UNMASK), 1);
            event.attach(this::unmask);
        }
        return free;
    }

    /** Removes the eventfd that unmasks, if there is one. */
    public void clearUnmaskEvent() {
        LineEvent event = unmaskEvent;
        if (event != null && words.get(at(UNMASK)) != 0) {
            event.detach();
            words.set(at(UNMASK), 0);
        }
    }

    /**
     * Chooses the handler of direct EOI from now on. The device may be at work: each signal carries what its EOI does.
     *
     * @param eventfd signalled instead of the trigger: its interrupt in the guest is mapped to the physical one
     */
    public void chooseDirect(Signal eventfd) {
        words.lock(at(LOCK));
        mapped = eventfd;
        words.set(at(DIRECT), 1);
        words.unlock(at(LOCK));
    }

    /** Chooses the handler that masks from now on. */
    public void chooseAutoMask() {
        words.lock(at(LOCK));
        words.set(at(DIRECT), 0);
        words.unlock(at(LOCK));
    }

    Taken handle() {
        words.lock(at(LOCK));
        Taken taken;
        if (isDirect() && !isMasked() && reaches()) {
            // Under the lock: the guest is signalled, also if it writes DisINTx next.
            signalMapped();
            taken = Taken.FORWARDED;
        } else {
            taken = maskForGuest() ? Taken.HANDLED : Taken.NONE;
        }
        words.unlock(at(LOCK));
        if (taken == Taken.HANDLED) {
            signal();
        }
        return taken;
    }

    /** @return whether the interrupt is of this device */
    boolean maskForGuest() {
        boolean masked = isMasked();
        if (!masked && (!atDevice || device.checkAndMask())) {
            if (!atDevice) {
                line.disable();
            }
            words.set(at(MASKED), 1);
            return true;
        }
        return !atDevice && device.kind() != IntxDevice.Kind.PLATFORM;
    }

    void signalMapped() {
        Signal to = mapped;
        if (to != null) {
            to.signal();
        }
    }

    boolean reaches() {
        return mode() == InterruptMode.INTX && !isVirtuallyDisabled() && words.get(at(TRIGGER)) != 0;
    }

    /** Signals the trigger, if the mode is INTx, the guest has not set DisINTx and there is a trigger. */
    void signal() {
        Signal to = trigger;
        if (to != null && reaches()) {
            to.signal();
        }
    }

    /**
     * Signals the trigger as if the device had interrupted. A platform device is masked first, as by its handler.
     *
     * @throws IllegalStateException if the mode is not INTx
     */
    public void loopback() {
        check(InterruptMode.INTX);
        if (device.kind() == IntxDevice.Kind.PLATFORM) {
            handle();
        } else {
            signal();
        }
    }

    /** Masks the device. In another mode DisINTx follows. Does not allocate. */
    public void mask() {
        words.lock(at(LOCK));
        maskLocked();
        words.unlock(at(LOCK));
    }

    private void maskLocked() {
        if (mode() != InterruptMode.INTX) {
            if (atDevice) {
                device.disable(true);
            }
        } else if (!isMasked()) {
            if (atDevice) {
                device.disable(true);
            } else {
                line.disable();
            }
            words.set(at(MASKED), 1);
        }
    }

    /**
     * Unmasks the device, unless the guest has set DisINTx. If the device still requests service and masks by DisINTx, it
     * stays masked and the trigger is signalled again. In another mode DisINTx follows. Does not allocate.
     */
    public void unmask() {
        words.lock(at(LOCK));
        boolean again = unmaskLocked();
        words.unlock(at(LOCK));
        if (again) {
            signal();
        }
    }

    /** @return whether the device still requests service, and stays masked */
    boolean unmaskLocked() {
        if (mode() != InterruptMode.INTX) {
            if (atDevice) {
                device.disable(false);
            }
            return false;
        }
        if (!isMasked() || isVirtuallyDisabled()) {
            return false;
        }
        boolean again = false;
        if (!atDevice) {
            line.enable();
        } else {
            again = !device.checkAndUnmask();
        }
        words.set(at(MASKED), again ? 1 : 0);
        return again;
    }

    /**
     * The guest writes COMMAND.DisINTx, which VFIO emulates. While it is set no signal reaches the guest, and an unmask does
     * nothing. Clearing it unmasks.
     *
     * @throws IllegalStateException if the device is a platform device
     */
    public void writeDisIntx(boolean disabled) {
        if (device.kind() == IntxDevice.Kind.PLATFORM) {
            throw new IllegalStateException("a platform device has no DisINTx: mask it instead");
        }
        words.lock(at(LOCK));
        boolean before = isVirtuallyDisabled();
        words.set(at(VIRTUAL_DISINTX), disabled ? 1 : 0);
        boolean again = false;
        if (disabled && !before) {
            maskLocked();
        } else if (!disabled && before) {
            again = unmaskLocked();
        }
        words.unlock(at(LOCK));
        if (again) {
            signal();
        }
    }
}
