/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.DmaSpace;
import io.kvmirq.vfio.IrqKind;
import io.kvmirq.vfio.PciConfig;
import io.kvmirq.vfio.Region;
import io.kvmirq.vfio.VfioDevice;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/**
 * A device of the host on a guest's {@link PciHostBridge}: configuration space, BARs, interrupts, DMA and resets.
 *
 * <pre>{@code
 * PciHostBridge bus = new PciHostBridge(0xc0000000L, 0x3ec00000L);
 * try (VfioDevice nic = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"), kvmVfio);
 *         Forwarding forwarding = Forwarding.of(vm, nic);
 *         PassedThroughDevice device = PassedThroughDevice.builder(bus, 1, vm, nic, forwarding)
 *                 .intx(new Gsi(16))
 *                 .memory(memory)
 *                 .build()) { ... }
 * }</pre>
 *
 * <p>The guest accesses the device's registers without an exit, except in the pages of the MSI-X table and the PBA.
 * {@link GuestMsix} emulates these two; other accesses to their pages are passed to the device. {@link GuestMsi} is the
 * guest's MSI. At most one of INTx, MSI and MSI-X is forwarded. INTx is forwarded while the guest has enabled decoding
 * and not disabled INTx.
 *
 * <p>A function reset by the guest is a VFIO_DEVICE_RESET: interrupts end first, then BARs and DMA, and the registers
 * get their reset values. {@link #reset} does the same and then sets the BARs to the addresses that firmware would
 * choose.
 *
 * <p>A guest's access never throws. If the device or the kernel refuses an access, it reads all ones or writes nothing;
 * likewise while the device is being removed and after {@link #close}. {@link Notices#warned} reports each kind of
 * refusal once until the next reset. A BAR that the guest moves onto memory or another BAR keeps the written address,
 * but the guest cannot access it. Each write to the configuration space retries.
 *
 * <p>Thread-safe. An injector of the forwarding may call only {@link #endOfInterrupt}. Call no other method with a lock
 * that the injector takes.
 */
public final class PassedThroughDevice implements DeviceState, AutoCloseable {
    private final PciHostBridge bridge;
    private final int slot;
    private final VfioDevice device;
    private final Forwarding forwarding;
    private final Optional<Gsi> gsi;
    private final Notices notices;
    private final List<Bar> bars = new ArrayList<>();
    /** The addresses that firmware would give the BARs. */
    private final Map<Bar, Long> homes = new HashMap<>();

    private final GuestConfig config;
    private final @Nullable GuestMsix msix;
    private final GuestInterrupts interrupts;
    private final ShownBars shown;
    private final DeviceWarnings warnings;
    private final HostSide host;
    private boolean closed;
    private final Undo parts = new Undo();

    /** Receives events of a device. Called without a lock. */
    public interface Notices {
        /**
         * An access of the guest had no effect, or the kernel refused a call. The sentence begins with the device's
         * name.
         */
        default void warned(String sentence) {}

        /**
         * The device reported an error that it cannot correct: stop the guest, or reset the device. Called in the
         * loop's thread.
         */
        default void failed() {}

        /** The host requests the device back: close this object and the device. Called in the loop's thread. */
        default void askedBack() {}
    }

    /** The options of a passed-through device. */
    public static final class Builder {
        private final PciHostBridge bridge;
        private final int slot;
        private final Vm vm;
        private final VfioDevice device;
        private final Forwarding forwarding;
        private final List<GuestMemory> memory = new ArrayList<>();
        private Optional<Gsi> gsi = Optional.empty();
        private Optional<DmaSpace> space = Optional.empty();
        private Optional<EventLoop> loop = Optional.empty();
        private Notices notices = new Notices() {};

        private Builder(PciHostBridge bridge, int slot, Vm vm, VfioDevice device, Forwarding forwarding) {
            this.bridge = bridge;
            this.slot = slot;
            this.vm = vm;
            this.device = device;
            this.forwarding = forwarding;
        }

        /**
         * Gives the guest's device the interrupt pin INTA#, connected to this IOAPIC pin or SPI, if the host's device
         * has a pin.
         */
        public Builder intx(Gsi pin) {
            gsi = Optional.of(Objects.requireNonNull(pin, "pin is null"));
            return this;
        }

        /** Lets the device read and write this memory of the guest, as long as it is passed through. */
        public Builder memory(GuestMemory shared) {
            memory.add(Objects.requireNonNull(shared, "shared is null"));
            return this;
        }

        /** Sets the DMA space for {@link #memory}; by default the space that was created with the device. */
        public Builder space(DmaSpace used) {
            space = Optional.of(Objects.requireNonNull(used, "used is null"));
            return this;
        }

        /**
         * Adds the receiver of notices to the VMM. Errors of the device and requests of the host are reported in the
         * thread that runs the loop.
         */
        public Builder notices(EventLoop inLoop, Notices told) {
            Objects.requireNonNull(inLoop, "inLoop is null");
            Objects.requireNonNull(told, "told is null");
            loop = Optional.of(inLoop);
            notices = told;
            return this;
        }

        /**
         * Passes the device to the guest, after a reset if the device can be reset.
         *
         * @throws IllegalArgumentException if the slot is taken; if the bus has no room for a BAR; if memory is in the
         *     hole or not in {@link DmaSpace#ranges}
         * @throws UnsupportedOperationException if the device is not a PCI device
         * @throws io.kvmirq.KernelException ENOMEM if RLIMIT_MEMLOCK is too low for the memory; other refusals of the
         *     kernel
         */
        public PassedThroughDevice build() {
            return new PassedThroughDevice(this);
        }
    }

    /**
     * A device to be passed through.
     *
     * @param slot on the bus, 1 to 31
     * @param forwarding of {@code device} to {@code vm}
     * @throws IllegalArgumentException for a forwarding of another device, or to another VM
     */
    public static Builder builder(PciHostBridge bridge, int slot, Vm vm, VfioDevice device, Forwarding forwarding) {
        Objects.requireNonNull(bridge, "bridge is null");
        Objects.requireNonNull(vm, "vm is null");
        Objects.requireNonNull(device, "device is null");
        if (Objects.requireNonNull(forwarding, "forwarding is null").device() != device || forwarding.vm() != vm) {
            throw new IllegalArgumentException(forwarding + " cannot be that of " + device.name() + " in " + vm
                    + ": make the Forwarding of this VM and this device");
        }
        return new Builder(bridge, slot, vm, device, forwarding);
    }

    private PassedThroughDevice(Builder told) {
        this.bridge = told.bridge;
        this.slot = told.slot;
        this.device = told.device;
        this.forwarding = told.forwarding;
        this.host = new HostSide(device);
        this.gsi = host.has(IrqKind.INTX) ? told.gsi : Optional.empty();
        this.notices = told.notices;
        this.warnings = new DeviceWarnings(toString(), notices::warned);
        PciConfig space = device.config();
        try (Undo undo = new Undo()) {
            undo.add(() -> bridge.detach(this));
            bridge.requireFree(slot);
            if (device.info().resettable()) {
                device.reset();
            }
            addBars(told.vm, space, undo);
            // The guest's ITS identifies the device by its requester id, of bus 0 and function 0.
            OptionalInt id = told.vm.isArm64() ? OptionalInt.of(slot << 3) : OptionalInt.empty();
            this.msix = host.has(IrqKind.MSIX) ? new GuestMsix(forwarding, device, id) : null;
            this.config = new GuestConfig(
                    space,
                    bars,
                    gsi.map(Gsi::number).orElse(-1),
                    msix != null,
                    host.has(IrqKind.MSI)
                            ? Optional.of(control -> new GuestMsi(forwarding, device, id, control))
                            : Optional.empty());
            this.interrupts = new GuestInterrupts(forwarding, device, gsi, bars, config, msix, warnings::attempt);
            this.shown = new ShownBars(bridge.placesOf(this), bars, config, msix, warnings);
            bars.forEach(bar -> bar.map(config.trapped(bar)));
            told.memory.forEach(bridge::requireOutside);
            host.share(told.memory, told.space, undo);
            undo.add(this::stop);
            begin();
            told.loop.ifPresent(loop -> host.listen(loop, notices::failed, notices::askedBack, undo));
            bridge.attach(this, slot); // last, because the guest may access it at once
            undo.moveTo(parts);
        }
    }

    private void addBars(Vm vm, PciConfig space, Undo undo) {
        for (int i = 0; i < GuestConfig.BARS; i++) {
            Region region = device.region(i);
            if (region.size() > 0) {
                Bar bar = undo.add(new Bar(vm, i, region, space.getInt(GuestConfig.BAR_0 + Integer.BYTES * i)));
                bars.add(bar);
                homes.put(bar, bridge.home(this, bar));
            }
        }
    }

    /** Sets the registers as firmware leaves them. */
    private void begin() {
        homes.forEach(config::setBar);
        interrupts.showMessageControl();
    }

    // Accesses of the guest; each locks, and notifies after it has unlocked

    int readConfig(int at, int size) {
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

    void writeConfig(int at, int size, int value) {
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
        warnings.tell();
    }

    /**
     * Handles a write to the configuration space. BARs are hidden before the device gets the write, and shown after it.
     */
    private void change(int at, int size, int value) {
        if (host.isStale() && config.willMaster(at, size, value)) {
            warnings.attempt("it is not reset: ", () -> host.reset(config));
        }
        config.keep(at, size, value);
        shown.hideMoved();
        try {
            config.pass(at, size, value);
            shown.show();
        } finally {
            interrupts.written(at, size, value);
        }
    }

    // Steps of the host while the guest runs

    /**
     * Holds all interrupts back from the guest until {@link #release}; its vCPUs may run, and its writes to the
     * device's registers release no interrupt. No interrupt is lost: messages of a vector are delivered after {@link
     * #release} as one interrupt, and a line stays asserted. After this returns, no new interrupt is requested. The
     * guest may still take one that was requested before. A reset does not end the hold. A second call does nothing. If
     * the device is gone, {@link Notices#warned} reports it.
     *
     * @throws io.kvmirq.KernelException as {@link io.kvmirq.forward.ForwardedIrq#mask}; none is held then
     */
    @Override
    public void hold() {
        try {
            synchronized (this) {
                requireOpen();
                interrupts.hold();
            }
        } finally {
            warnings.tell();
        }
    }

    @Override
    public synchronized boolean isHeld() {
        return interrupts.isHeld();
    }

    /**
     * Ends {@link #hold}. Interrupts that the kernel refuses stay held, as after a write of the guest, and {@link
     * Notices#warned} reports it.
     */
    @Override
    public void release() {
        synchronized (this) {
            requireOpen();
            interrupts.release();
        }
        warnings.tell();
    }

    /** Handles the guest's read of a BAR. */
    long read(Bar bar, long at, int size) {
        long value = -1;
        synchronized (this) {
            if (!closed) {
                value = shown.read(bar, at, size);
            }
        }
        warnings.tell();
        return value;
    }

    /** Handles the guest's write of a BAR. */
    void write(Bar bar, long at, int size, long value) {
        synchronized (this) {
            if (!closed) {
                shown.write(bar, at, size, value);
            }
        }
        warnings.tell();
    }

    Optional<PciHostBridge.Line> line() {
        return gsi.map(pin -> new PciHostBridge.Line(slot, config.pin(), pin));
    }

    /**
     * Handles the guest's EOI of the pin, if this process emulates the IOAPIC: a device that still asserts its line
     * interrupts again. Pass it to {@link io.kvmirq.irqchip.GuestIoapic#addEndListener}; it takes no lock. With KVM's
     * IOAPIC, or while INTx is not forwarded, it does nothing.
     */
    public void endOfInterrupt() {
        for (ForwardedIrq irq : forwarding.irqs()) {
            if (irq.irq().info().kind() == IrqKind.INTX) {
                try {
                    irq.endOfInterrupt();
                } catch (IllegalStateException e) {
                    return; // the guest has left INTx meanwhile, or the forwarding was closed
                }
            }
        }
    }

    // Save and restore

    /**
     * A text of all constant properties that the guest sees: ids, sizes of BARs, places of capabilities, the pin. A
     * state can be restored into a device with the same text.
     */
    public synchronized String identity() {
        return config.identity(bars) + gsi.map(pin -> " at " + pin).orElse("");
    }

    @Override
    public synchronized List<Gsi> gsis() {
        return interrupts.gsis();
    }

    @Override
    public synchronized int forwardedTo(Gsi one) {
        return interrupts.forwardedTo(Objects.requireNonNull(one, "one is null"));
    }

    /**
     * The guest's writes to the configuration space, including the addresses of the BARs and Device Control of PCI
     * Express, and the state of MSI and MSI-X ({@link GuestMessages}). The device's own registers and memory cannot be
     * saved: its driver must write them again after a restore, as after a reset. An asserted line is not in the state;
     * the restored device asserts its own.
     *
     * @throws IllegalStateException on a virtual thread, and after {@link #close}
     */
    @Override
    public synchronized byte[] state() {
        requireOpen();
        List<byte[]> parts = interrupts.states();
        int size = parts.stream().mapToInt(part -> Integer.BYTES + part.length).sum();
        ByteBuffer state = ByteBuffer.allocate(GuestConfig.STATE_BYTES + Integer.BYTES + size);
        config.save(state);
        state.putInt(shown.mask());
        parts.forEach(part -> state.putInt(part.length).put(part));
        return state.array();
    }

    /**
     * Resets the device and restores its configuration space from a state that {@link #state} returned: BARs, DMA,
     * interrupts. A device whose reset the kernel refuses does no DMA, as after {@link #reset}.
     *
     * @throws IllegalArgumentException if the state belongs to another kind of device, or a BAR has an address that is
     *     not free here; the device is then as after {@link #reset}
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     */
    @Override
    public void restore(byte[] bytes) {
        Objects.requireNonNull(bytes, "bytes is null");
        reset();
        try (Undo undo = new Undo()) {
            undo.add(this::reset);
            synchronized (this) {
                requireOpen();
                restore(ByteBuffer.wrap(bytes));
            }
            undo.keep();
        } catch (BufferUnderflowException e) {
            throw new IllegalArgumentException(bytes.length + " bytes are not the state of " + this, e);
        }
        warnings.tell();
    }

    private void restore(ByteBuffer state) {
        shown.hideAll();
        config.restore(state);
        shown.show();
        int saved = state.getInt();
        if (saved != shown.mask()) {
            throw new IllegalArgumentException(
                    "the guest of " + this + " does not reach the same BARs as before: " + warnings);
        }
        interrupts.restore(state);
    }

    private void requireOpen() {
        if (closed) {
            throw new ClosedHandleException(toString());
        }
    }

    // Reset and end

    /** Ends interrupts, BARs and DMA, and resets the device last. */
    private void resetFunction() {
        interrupts.reset();
        shown.hideAll();
        warnings.attempt("its configuration space cannot be written: ", config::reset);
        warnings.attempt("it is not reset: ", () -> host.reset(config));
        interrupts.showMessageControl();
    }

    /**
     * Resets the device with the guest, and sets its BARs to the addresses that firmware would choose. A device without
     * its own reset is reset with its bus, if it is alone there. Else its registers keep their values, and it does no
     * DMA until the guest makes it a bus master. If the kernel refuses a reset that the device has, {@link
     * Notices#warned} reports it, and bus mastering stays off; each write of the guest that enables bus mastering
     * retries the reset.
     */
    @Override
    public void reset() {
        synchronized (this) {
            warnings.reset();
            if (!closed) {
                resetFunction();
                begin();
            }
        }
        warnings.tell();
    }

    private synchronized void stop() {
        closed = true;
        resetFunction();
    }

    /**
     * Removes the device from the guest: interrupts, BARs, DMA, and the memory last. The guest then reads all ones. The
     * device and its forwarding may be closed before or after this. Idempotent, never fails.
     */
    @Override
    public void close() {
        synchronized (this) {
            if (closed) {
                return;
            }
            closed = true;
        }
        parts.close(); // without the lock, which a handler may need for whose end a registration waits
        warnings.tell();
    }

    @Override
    public String toString() {
        return device.name() + " in slot " + slot;
    }
}
