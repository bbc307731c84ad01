/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.NotPromised;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A PCI function on a guest's {@link PciHostBridge}, with configuration space, BARs and interrupts: either a host
 * device or an emulated device. At most one of INTx, MSI and MSI-X is in use, unless an emulated function has separate
 * vectors for MSI and MSI-X.
 *
 * <p>A guest access never throws. A refused read returns all ones, and a refused write has no effect. The VMM gets each
 * kind of warning at most once between two resets. A BAR that the guest moves onto memory keeps the written address,
 * but is inaccessible until the memory is removed. {@link PciHostBridge} describes overlapping BARs.
 *
 * <p>Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.VmmSnippetsTest" region="function"}
 */
public abstract sealed class PciFunction implements DeviceState, AutoCloseable
        permits EmulatedFunction, PassedThroughDevice {
    /** The pin's level, stored beside a state's BAR bits. It is low in older states. */
    private static final int ASSERTED = 1 << Byte.SIZE;

    final DeviceWarnings warnings;
    /** The parts to close, last added first. */
    final Undo parts = new Undo();

    final List<Bar> bars = new ArrayList<>();

    private final PciHostBridge bridge;
    private final Vm vm;
    private final int slot;
    private final String name;
    private final Optional<Gsi> gsi;
    /** The addresses that firmware would give the BARs. */
    private final Map<Bar, Long> homes = new HashMap<>();

    private GuestConfig config;
    private GuestInterrupts interrupts;
    private ShownBars shown;
    private boolean closed;

    @SuppressWarnings("NullAway.Init") // see show()
    PciFunction(PciHostBridge bridge, int slot, Vm vm, String name, Optional<Gsi> gsi, Consumer<String> warned) {
        this.bridge = bridge;
        this.vm = vm;
        this.slot = slot;
        this.name = name;
        this.gsi = gsi;
        this.warnings = new DeviceWarnings(toString(), warned);
    }

    final void addBar(Bar bar) {
        bars.add(bar);
        homes.put(bar, bridge.addresses().home(this, bar));
    }

    /** Sets the guest's side, before any other call. {@code lines} forwards the line to its GSI if it is not a wire. */
    final void show(
            GuestConfig ofGuest, @Nullable GuestMsix msix, Function<Gsi, ForwardedIrq> lines, @Nullable Wire wire) {
        config = ofGuest;
        interrupts = new GuestInterrupts(gsi, lines, wire, bars, config, msix, warnings);
        shown = new ShownBars(this, slot, bridge.addresses(), bars, config, msix, warnings);
        bars.forEach(bar -> bar.map(config.trapped(bar)));
    }

    /** Sets the registers as firmware leaves them. */
    final void begin() {
        homes.forEach(config::setBar);
        interrupts.showMessageControl();
    }

    // Steps of the function itself; each holds the lock

    /** Called before a guest write to the configuration space takes effect. */
    void writing(int at, int size, int value) {}

    /** Resets the device behind the BARs, after interrupts and BARs have ended. */
    void resetDevice() {}

    /** Called after a reset, without the lock. */
    void wasReset() {}

    /** Whether the registers behind the BARs are accessed without the lock. */
    abstract boolean hasOwnLock();

    /** The function's own registers, which follow in {@link #state}. */
    byte[] registers() {
        return new byte[0];
    }

    void restoreRegisters(byte[] saved) {}

    final GuestConfig config() {
        return config;
    }

    // Accesses of the guest; each locks, and notifies after it has unlocked

    final int readConfig(int at, int size) {
        int value = -1;
        synchronized (this) {
            if (!closed) {
                try {
                    value = config.read(at, size);
                } catch (RuntimeException e) {
                    warnings.add("its configuration space cannot be read: ", e);
                }
            }
        }
        warnings.tell();
        return value;
    }

    final void writeConfig(int at, int size, int value) {
        synchronized (this) {
            if (!closed) {
                try {
                    if (config.resets(at, size, value)) {
                        resetFunction();
                    } else {
                        change(at, size, value);
                    }
                } catch (RuntimeException e) {
                    warnings.add("its configuration space cannot be written: ", e);
                }
            }
        }
        settle();
    }

    /** Ends a change of addresses, without the lock, because other functions may have BARs below those that moved. */
    private void settle() {
        bridge.addresses().settle();
        drive();
    }

    /** Drives the line as recorded, without the lock, and reports warnings. */
    private void drive() {
        warnings.attempt("INTx: ", interrupts::drive);
        warnings.tell();
    }

    /** Sets the level of INTA# of an emulated function. */
    final void setLine(boolean high) {
        synchronized (this) {
            requireOpen();
            if (gsi.isEmpty()) {
                throw new IllegalStateException(this + " has no interrupt pin: call intx(pin) of its builder");
            }
            config.setAsserted(high);
            interrupts.settleLine();
        }
        interrupts.drive();
    }

    /**
     * Handles a write to the configuration space. BARs are hidden before the function gets it, and shown afterwards.
     */
    private void change(int at, int size, int value) {
        writing(at, size, value);
        config.keep(at, size, value);
        shown.hideMoved();
        try {
            config.pass(at, size, value);
            shown.decode();
        } finally {
            interrupts.written(at, size, value);
        }
    }

    /** Handles the guest's read of a BAR. */
    final long read(Bar bar, long at, int size) {
        long value = -1;
        long offset = -1;
        synchronized (this) {
            if (!closed) {
                offset = hasOwnLock() ? shown.plain(bar, at, size) : -1;
                value = offset < 0 ? shown.read(bar, at, size) : -1;
            }
        }
        if (offset >= 0) {
            value = shown.readPlain(bar, offset, size);
        }
        warnings.tell();
        return value;
    }

    /** Handles the guest's write of a BAR. */
    final void write(Bar bar, long at, int size, long value) {
        long offset = -1;
        synchronized (this) {
            if (!closed) {
                offset = hasOwnLock() ? shown.plain(bar, at, size) : -1;
                if (offset < 0) {
                    shown.write(bar, at, size, value);
                }
            }
        }
        if (offset >= 0) {
            shown.writePlain(bar, offset, size, value);
        }
        warnings.tell();
    }

    final Optional<PciHostBridge.Line> line() {
        return gsi.map(pin -> new PciHostBridge.Line(slot, config.pin(), pin));
    }

    // Steps of the host while the guest runs

    /**
     * Masks the function's interrupts as {@link DeviceState#hold} does. The guest's vCPUs may keep running. Messages
     * that a vector sends during the hold become one interrupt, and an asserted line stays asserted. The guest may
     * still receive an interrupt that the device sent before the hold. A reset does not end the hold. If the host
     * device is gone, the VMM gets a warning.
     */
    @Override
    public final void hold() {
        try {
            synchronized (this) {
                requireOpen();
                interrupts.hold();
            }
        } finally {
            drive();
        }
    }

    @Override
    public final synchronized boolean isHeld() {
        return interrupts.isHeld();
    }

    /**
     * Ends {@link #hold}. If the kernel refuses to unmask an interrupt, the interrupt stays masked until a later guest
     * write, and the VMM gets a warning.
     */
    @Override
    public final void release() {
        synchronized (this) {
            requireOpen();
            interrupts.release();
        }
        drive();
    }

    // Save and restore

    /**
     * Returns a text with all constant properties that the guest sees: ids, BAR sizes, capability offsets and the pin.
     * A state can be restored only into a function with the same text.
     */
    public final synchronized String identity() {
        return config.identity(bars) + gsi.map(pin -> " at " + pin).orElse("");
    }

    /** Returns the guest's VM. */
    @NotPromised
    public final Vm vm() {
        return vm;
    }

    @Override
    public final synchronized List<Gsi> gsis() {
        return interrupts.gsis();
    }

    @Override
    public final synchronized List<EventFd> events() {
        return interrupts.events();
    }

    @Override
    public final synchronized int forwardedTo(Gsi gsi) {
        return interrupts.forwardedTo(Objects.requireNonNull(gsi, "gsi is null"));
    }

    /**
     * Returns the values that the guest wrote to the configuration space (such as BAR addresses and Device Control of
     * PCI Express), the state of MSI and MSI-X ({@link GuestMessages}), and an emulated function's own registers. A
     * host device's registers and memory cannot be saved, so the guest's driver must write them again after a restore.
     * An emulated function's state includes the level of its pin, but a host device asserts its line itself.
     *
     * @throws IllegalStateException if a virtual thread calls this method, or after {@link #close}
     */
    @Override
    public final byte[] state() {
        byte[] own = Objects.requireNonNull(
                registers(), "Registers.state of " + this + " returned null: return the bytes to save, or none");
        synchronized (this) {
            requireOpen();
            List<byte[]> saved = interrupts.states();
            int size =
                    saved.stream().mapToInt(part -> Integer.BYTES + part.length).sum();
            ByteBuffer state = ByteBuffer.allocate(GuestConfig.STATE_BYTES + Integer.BYTES + size + own.length);
            config.save(state);
            state.putInt(shown.mask() | (config.isAsserted() ? ASSERTED : 0));
            saved.forEach(part -> state.putInt(part.length).put(part));
            return state.put(own).array();
        }
    }

    /**
     * Resets the function and restores a state that {@link #state} returned: the configuration space with BARs, DMA and
     * interrupts, and an emulated function's own registers. If the kernel refuses the reset, the device cannot do DMA,
     * as after {@link #reset}.
     *
     * @throws IllegalArgumentException if the state belongs to another kind of function, or a BAR has an address that
     *     is not free here. The function is then as after {@link #reset}
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    @Override
    public final void restore(byte[] bytes) {
        Objects.requireNonNull(bytes, "bytes is null");
        reset();
        try (Undo undo = new Undo()) {
            undo.add(this::reset);
            ByteBuffer state = ByteBuffer.wrap(bytes);
            synchronized (this) {
                requireOpen();
                restore(state);
            }
            byte[] own = new byte[state.remaining()];
            state.get(own);
            restoreRegisters(own);
            undo.keep();
        } catch (BufferUnderflowException e) {
            throw new IllegalArgumentException(bytes.length + " bytes are not the state of " + this, e);
        }
        settle();
    }

    private void restore(ByteBuffer state) {
        shown.hideAll();
        config.restore(state);
        shown.decode();
        int saved = state.getInt();
        if ((saved & ~(shown.mask() | ASSERTED)) != 0) {
            throw new IllegalArgumentException(
                    "the guest of " + this + " does not reach the same BARs as before: " + warnings);
        }
        config.setAsserted((saved & ASSERTED) != 0);
        interrupts.restore(state);
    }

    private void requireOpen() {
        if (closed) {
            throw new ClosedHandleException(toString());
        }
    }

    // Reset and end

    /** Ends interrupts, BARs and DMA, and resets the function's registers last. */
    private void resetFunction() {
        interrupts.reset();
        shown.hideAll();
        warnings.attempt("its configuration space cannot be written: ", config::reset);
        warnings.attempt("it is not reset: ", this::resetDevice);
        interrupts.showMessageControl();
    }

    /**
     * Resets the function when the guest resets, and sets its BARs to the addresses that firmware would choose. A host
     * device without its own reset is reset with its bus, if no other device is on the bus. A device that cannot be
     * reset keeps its register values, and cannot do DMA until the guest enables bus mastering. If the kernel refuses a
     * reset that the device supports, the VMM gets a warning, and bus mastering stays off. Each guest write that
     * enables bus mastering retries the reset.
     */
    @Override
    public final void reset() {
        synchronized (this) {
            warnings.reset();
            if (closed) {
                return;
            }
            resetFunction();
            begin();
        }
        try {
            wasReset();
        } catch (RuntimeException e) { // the author's
            warnings.add(
                    "reset",
                    "its interrupts and BARs are reset, but its registers may not be: " + DeviceWarnings.text(e));
        }
        settle();
    }

    /** Clears the pending bits of MSI and MSI-X. */
    final synchronized void forgetMessages() {
        interrupts.forget();
    }

    final synchronized void stop() {
        closed = true;
        resetFunction();
    }

    /**
     * Removes the function's interrupts, BARs and DMA from the guest. The guest then reads all ones from the function.
     * Idempotent, never fails.
     */
    @Override
    public final void close() {
        synchronized (this) {
            if (closed) {
                return;
            }
            closed = true;
        }
        parts.close(); // without the lock, which a handler may need for whose end a registration waits
        drive();
    }

    @Override
    public String toString() {
        return name + " in slot " + slot;
    }
}
