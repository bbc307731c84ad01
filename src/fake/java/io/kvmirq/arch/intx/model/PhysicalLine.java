/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.arch.SharedWords;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * A level-triggered line of the host's interrupt controller: the devices that assert it, the handlers that share it,
 * the depth of nested disables, and whether its interrupt is active. Any number of threads may use the line after all
 * devices are connected and all handlers are added. A method throws IllegalArgumentException for a missing handler.
 *
 * <p>The model masks a disabled line at once, as vfio-pci requests for devices without DisINTx ({@code
 * IRQ_DISABLE_UNLAZY}). Linux masks a disabled line of a platform device only at its next interrupt.
 *
 * <p>Source: kernel/irq/manage.c, kernel/irq/spurious.c of Linux 7.1.
 */
public final class PhysicalLine {
    /** {@code desc->lock}: guards all words below. */
    static final int LOCK = 0;
    /** The lock that is held while handlers run: {@code IRQD_IRQ_INPROGRESS}. */
    static final int RUNNING = 1;
    /** Whether the controller holds the interrupt active. */
    static final int ACTIVE = 2;
    /** The handlers that left the active interrupt to the guest's EOI, a bit each; all while handlers run. */
    static final int DIRECT = 3;
    /** Depth of nested disables. */
    static final int DEPTH = 4;
    /** The handlers that requested the line, a bit each. */
    static final int REQUESTED = 5;
    /** Whether a handler requested the line without sharing it. */
    static final int EXCLUSIVE = 6;

    static final int INTERRUPTS = 7;
    static final int UNHANDLED = 8;
    /** Whether the line is disabled because no handler claimed its interrupts. */
    static final int STUCK = 9;

    static final int WORDS = 10;

    public enum Taken {
        /** The handler's device did not interrupt: {@code IRQ_NONE}. */
        NONE,
        HANDLED,
        /** Direct EOI: the handler signalled the guest, whose EOI later deactivates the interrupt. */
        DIRECT
    }

    @FunctionalInterface
    public interface Handler {
        /**
         * Called by {@link #take} when the line interrupts, by one thread at a time. The handler runs under a lock of
         * the line: it must not throw, wait, or call {@code take}, {@code request} or {@code free}.
         */
        Taken handle();
    }

    /** Replaces a removed handler. */
    private static final Handler REMOVED = () -> Taken.NONE;

    private static final int PERIOD = 100_000;
    private static final int MAX_UNHANDLED = 99_900;
    private static final int MAX_HANDLERS = Long.SIZE;

    private final LineController controller;
    private final SharedWords words;
    private final int base;
    private final WordLock running;
    private final int period;
    private final int maxUnhandled;
    private final List<IntxDevice> devices = new CopyOnWriteArrayList<>();
    private final List<Handler> handlers = new CopyOnWriteArrayList<>();

    public PhysicalLine(LineController controller) {
        this(controller, SharedWords.of(new long[WORDS]), 0, PERIOD, MAX_UNHANDLED);
    }

    PhysicalLine(LineController controller, SharedWords words, int base, int period, int maxUnhandled) {
        this.controller = controller;
        this.words = words;
        this.base = base;
        this.running = new WordLock(words, at(RUNNING));
        this.period = period;
        this.maxUnhandled = maxUnhandled;
    }

    int at(int word) {
        return base + word;
    }

    public LineController controller() {
        return controller;
    }

    void connect(IntxDevice device) {
        boolean platform = device.kind() == IntxDevice.Kind.PLATFORM;
        for (IntxDevice other : devices) {
            if (platform != (other.kind() == IntxDevice.Kind.PLATFORM)) {
                throw new IllegalArgumentException(
                        "a device of kind " + device.kind() + " cannot share the line with one of kind " + other.kind()
                                + ": give platform devices a line of their own");
            }
        }
        devices.add(device);
    }

    void disconnect(IntxDevice device) {
        devices.remove(device);
    }

    /** Adds a handler for {@link #request} and returns its number. Throws IllegalStateException beyond 64 handlers. */
    public int add(Handler handler) {
        int place = handlers.indexOf(REMOVED);
        if (place >= 0) {
            handlers.set(place, handler);
            return place;
        }
        if (handlers.size() == MAX_HANDLERS) {
            throw new IllegalStateException("the line has " + MAX_HANDLERS + " handlers already: use another line");
        }
        handlers.add(handler);
        return handlers.size() - 1;
    }

    /** Removes a handler while no other thread uses the line. Throws IllegalStateException if it was not freed. */
    public void remove(int handler) {
        if ((words.get(at(REQUESTED)) & bit(handler)) != 0) {
            throw new IllegalStateException("handler " + handler + " has the line: free it first");
        }
        handlers.set(handler, REMOVED);
    }

    /**
     * Requests the line for a handler ({@code request_irq}). A shared request re-enables a line that was disabled
     * because no handler claimed its interrupts.
     *
     * @param shared whether the handler shares the line ({@code IRQF_SHARED})
     * @param enabled whether the line's first handler enables the line; if false, the line stays disabled until {@link
     *     #enable} ({@code IRQF_NO_AUTOEN})
     * @return whether the handler got the line; false means EBUSY: another handler has the line, and one of the two
     *     requests is not shared
     * @throws IllegalStateException if the line has no device, or the handler has the line already
     */
    public boolean request(int handler, boolean shared, boolean enabled) {
        long bit = bit(handler);
        if (devices.isEmpty()) {
            throw new IllegalStateException("the line has no device: connect one before a handler requests the line");
        }
        words.lock(at(LOCK));
        long requested = words.get(at(REQUESTED));
        boolean granted = requested == 0 || shared && words.get(at(EXCLUSIVE)) == 0 && (requested & bit) == 0;
        if (granted) {
            words.set(at(REQUESTED), requested | bit);
            words.set(at(EXCLUSIVE), shared ? 0 : 1);
            words.set(at(STUCK), 0);
            words.set(at(INTERRUPTS), 0);
            words.set(at(UNHANDLED), 0);
            if (requested == 0) {
                words.set(at(DEPTH), enabled ? 0 : 1);
            }
        }
        words.unlock(at(LOCK));
        if ((requested & bit) != 0) {
            throw new IllegalStateException("handler " + handler + " has the line already: free it first");
        }
        return granted;
    }

    /** Frees the line when no handler runs ({@code free_irq}). Throws IllegalStateException without a request. */
    public void free(int handler) {
        long bit = bit(handler);
        words.lock(at(RUNNING));
        words.lock(at(LOCK));
        long requested = words.get(at(REQUESTED));
        words.set(at(REQUESTED), requested & ~bit);
        words.unlock(at(LOCK));
        words.unlock(at(RUNNING));
        if ((requested & bit) == 0) {
            throw new IllegalStateException("handler " + handler + " does not have the line: request it first");
        }
    }

    private long bit(int handler) {
        if (handler < 0 || handler >= handlers.size() || handlers.get(handler) == REMOVED) {
            throw new IllegalArgumentException(
                    "handler " + handler + " does not exist: expected a number that add returned");
        }
        return 1L << handler;
    }

    /** Increments the disable depth, without waiting for a running handler ({@code disable_irq_nosync}). */
    public void disable() {
        words.lock(at(LOCK));
        words.set(at(DEPTH), words.get(at(DEPTH)) + 1);
        words.unlock(at(LOCK));
    }

    /**
     * Models {@code enable_irq}: call it once for each {@link #disable}. When each disable has its enable, an asserted
     * line interrupts again. Throws IllegalStateException if the line is enabled.
     */
    public void enable() {
        words.lock(at(LOCK));
        long depth = words.get(at(DEPTH));
        if (depth > 0) {
            words.set(at(DEPTH), depth - 1);
        }
        words.unlock(at(LOCK));
        if (depth == 0) {
            throw new IllegalStateException("the line is enabled already: disable it first");
        }
    }

    /** The guest's EOI: deactivates the interrupt if the handler left it to the EOI, also for other handlers. */
    void deactivate(int handler) {
        words.lock(at(LOCK));
        if ((words.get(at(DIRECT)) >>> handler & 1) != 0) {
            setDirect(0);
        }
        words.unlock(at(LOCK));
    }

    /** Cancels the EOI of the handler's guest. Deactivates the interrupt if only this handler left it to the EOI. */
    void end(int handler) {
        words.lock(at(LOCK));
        long direct = words.get(at(DIRECT));
        if ((direct >>> handler & 1) != 0) {
            setDirect(direct & ~(1L << handler));
        }
        words.unlock(at(LOCK));
    }

    /** Waits until no handler runs ({@code synchronize_irq}). */
    void awaitHandlers() {
        words.lock(at(RUNNING));
        words.unlock(at(RUNNING));
    }

    private void setDirect(long handlers) {
        words.set(at(DIRECT), handlers);
        words.set(at(ACTIVE), handlers == 0 ? 0 : 1);
    }

    /** Whether a device asserts the line. Does not allocate. */
    public boolean isHigh() {
        for (int i = 0; i < devices.size(); i++) {
            if (devices.get(i).isAsserting()) {
                return true;
            }
        }
        return false;
    }

    /** Whether the interrupt is active at the controller, so that the line does not interrupt again. */
    public boolean isActive() {
        return words.get(at(ACTIVE)) != 0;
    }

    /** Whether the line is disabled: a disable has no enable yet. */
    public boolean isDisabled() {
        return words.get(at(DEPTH)) != 0;
    }

    /** Whether the line was disabled because no handler claimed its interrupts ("nobody cared"). See {@link #poll}. */
    public boolean isStuck() {
        return words.get(at(STUCK)) != 0;
    }

    public int handlers() {
        return Long.bitCount(words.get(at(REQUESTED)));
    }

    public boolean isInterrupting() {
        return handlers() > 0 && !isDisabled() && !isStuck() && !isActive() && isHigh();
    }

    /**
     * A CPU takes the line's interrupt and runs all handlers; only one CPU at a time does so. After the handlers the
     * CPU deactivates the interrupt, unless the guest's EOI does. Does not allocate. Returns whether there was an
     * interrupt.
     */
    public boolean take() {
        running.take();
        try (running) {
            words.lock(at(LOCK));
            boolean interrupts = isInterrupting();
            long requested = words.get(at(REQUESTED));
            if (interrupts) {
                words.set(at(ACTIVE), 1);
                words.set(at(DIRECT), controller == LineController.GIC ? requested : 0);
            }
            words.unlock(at(LOCK));
            if (interrupts) {
                run(requested, true);
            }
            return interrupts;
        }
    }

    /**
     * Runs the handlers of a shared line that was disabled because no handler claimed its interrupts. Linux does so
     * every 100 ms ({@code poll_spurious_irqs}) until a handler is added, so the handlers run at most ten times a
     * second. The model ignores the handlers' results, so no interrupt stays active. Does not allocate.
     *
     * @return whether the handlers ran; they run only if the line is stuck and shared
     */
    public boolean poll() {
        running.take();
        try (running) {
            words.lock(at(LOCK));
            long requested = words.get(at(REQUESTED));
            boolean polls = isStuck() && requested != 0 && words.get(at(EXCLUSIVE)) == 0;
            words.unlock(at(LOCK));
            if (polls) {
                run(requested, false);
            }
            return polls;
        }
    }

    private void run(long requested, boolean counts) {
        boolean handled = false;
        long direct = 0;
        try {
            for (int i = 0; i < handlers.size(); i++) {
                if ((requested >>> i & 1) != 0) {
                    Taken taken = handlers.get(i).handle();
                    handled |= taken != Taken.NONE;
                    direct |= taken == Taken.DIRECT ? 1L << i : 0;
                }
            }
        } finally {
            words.lock(at(LOCK));
            // The guest's EOI may have deactivated the interrupt already.
            setDirect(words.get(at(DIRECT)) & direct);
            if (counts) {
                account(handled);
            }
            words.unlock(at(LOCK));
        }
    }

    /** {@code note_interrupt}: up to 99 900 of 100 000 may be unhandled. Linux ignores those that are 0.1 s apart. */
    private void account(boolean handled) {
        long unhandled = words.get(at(UNHANDLED)) + (handled ? 0 : 1);
        if (unhandled == 0) {
            return;
        }
        long interrupts = words.get(at(INTERRUPTS)) + 1;
        boolean over = interrupts == period;
        if (over && unhandled > maxUnhandled) {
            words.set(at(STUCK), 1);
        }
        words.set(at(UNHANDLED), over ? 0 : unhandled);
        words.set(at(INTERRUPTS), over ? 0 : interrupts);
    }
}
