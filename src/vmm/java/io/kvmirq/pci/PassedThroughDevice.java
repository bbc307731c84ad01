/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.IrqKind;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.DmaSpace;
import io.kvmirq.vfio.PciConfig;
import io.kvmirq.vfio.Region;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * A host device on a guest's {@link PciHostBridge}, with its configuration space, BARs, interrupts, DMA and resets.
 *
 * <pre>{@code
 * PciHostBridge bus = new PciHostBridge(0xc0000000L, 0x3ec00000L);
 * try (VfioDevice nic = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"), kvmVfio);
 *         Forwarding forwarding = Forwarding.create(vm, nic);
 *         PassedThroughDevice device = PassedThroughDevice.builder(bus, 1, vm, nic, forwarding)
 *                 .intx(new Gsi(16))
 *                 .memory(memory)
 *                 .build()) { ... }
 * }</pre>
 *
 * <p>The guest accesses the device's registers without an exit, except in the pages of the MSI-X table and the PBA.
 * {@link GuestMsix} emulates both. Accesses to other registers in these pages are passed to the device. {@link
 * GuestMsi} emulates the MSI capability. At most one of INTx, MSI and MSI-X is forwarded. INTx is forwarded while the
 * guest has enabled decoding of BARs and has not set Interrupt Disable.
 *
 * <p>A function-level reset by the guest becomes a VFIO_DEVICE_RESET.
 *
 * <p>Thread-safe. An injector of the forwarding may call only {@link #endOfInterrupt} of this object. If the injector
 * takes a lock, do not hold this lock when you call any other method, or the call deadlocks.
 *
 * {@snippet class="io.kvmirq.snippets.VmmSnippetsTest" region="passed"}
 */
public final class PassedThroughDevice extends PciFunction {
    private final VfioDevice device;
    private final Forwarding forwarding;
    private final HostSide host;

    /** Receives a device's warnings and errors, and the host's requests. No lock is held when a method is called. */
    public interface Notices {
        /**
         * Called if a guest access had no effect, or if the kernel refused a call. {@code sentence} begins with the
         * device's name.
         */
        default void warned(String sentence) {}

        /**
         * Called in the event loop's thread when the device reported an uncorrectable error. Stop the guest, or reset
         * the device.
         */
        default void failed() {}

        /** Called in the loop's thread if the host requests the device back. Close the function and the device. */
        default void askedBack() {}
    }

    /** Builds a passed-through device. */
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

        /** Adds the pin INTA#, connected to this IOAPIC pin or SPI. Has no effect if the host device has no pin. */
        public Builder intx(Gsi pin) {
            gsi = Optional.of(Objects.requireNonNull(pin, "pin is null"));
            return this;
        }

        /** Allows the device DMA access to this guest memory while the device is passed through. */
        public Builder memory(GuestMemory shared) {
            memory.add(Objects.requireNonNull(shared, "shared is null"));
            return this;
        }

        /** Sets the DMA space for {@link #memory}. The default is the space that was created with the device. */
        public Builder space(DmaSpace used) {
            space = Optional.of(Objects.requireNonNull(used, "used is null"));
            return this;
        }

        /**
         * Sets the receiver of the device's events. Errors and requests are reported in the thread that runs {@code
         * inLoop}.
         */
        public Builder notices(EventLoop inLoop, Notices notices) {
            Objects.requireNonNull(inLoop, "inLoop is null");
            Objects.requireNonNull(notices, "notices is null");
            loop = Optional.of(inLoop);
            this.notices = notices;
            return this;
        }

        /**
         * Resets the device if it can be reset, and passes it to the guest.
         *
         * @throws IllegalArgumentException if the slot is in use; if the bus has no room for a BAR; if guest memory is
         *     in the bridge's hole or outside {@link DmaSpace#ranges}
         * @throws UnsupportedOperationException if the device is not a PCI device
         * @throws io.kvmirq.KernelException ENOMEM if RLIMIT_MEMLOCK is too low for the memory; another errno if the
         *     kernel refuses a call
         */
        public PassedThroughDevice build() {
            return new PassedThroughDevice(this);
        }
    }

    /**
     * Returns a builder for a passed-through device.
     *
     * @param slot the device's slot on the bus, 1 to 31
     * @param forwarding the forwarding of {@code device} to {@code vm}
     * @throws IllegalArgumentException if {@code forwarding} forwards another device, or to another VM
     */
    public static Builder builder(PciHostBridge bridge, int slot, Vm vm, VfioDevice device, Forwarding forwarding) {
        Objects.requireNonNull(bridge, "bridge is null");
        Objects.requireNonNull(vm, "vm is null");
        Objects.requireNonNull(device, "device is null");
        if (Objects.requireNonNull(forwarding, "forwarding is null").device() != device || forwarding.vm() != vm) {
            throw new IllegalArgumentException(forwarding + " cannot be that of " + device.name() + " in " + vm
                    + ": create the Forwarding of this VM and this device");
        }
        return new Builder(bridge, slot, vm, device, forwarding);
    }

    private PassedThroughDevice(Builder from) {
        super(
                from.bridge,
                from.slot,
                from.vm,
                from.device.name().toString(),
                HostSide.has(from.device, IrqKind.INTX) ? from.gsi : Optional.empty(),
                from.notices::warned);
        this.device = from.device;
        this.forwarding = from.forwarding;
        this.host = new HostSide(device);
        PciHostBridge bridge = from.bridge;
        try (Undo undo = new Undo()) {
            undo.add(() -> bridge.detach(this));
            bridge.requireFree(from.slot);
            if (device.info().resettable()) {
                device.reset();
            }
            addBars(from.vm, undo);
            show(from);
            from.memory.forEach(bridge::requireOutside);
            host.share(from.memory, from.space, undo);
            undo.add(this::stop);
            begin();
            from.loop.ifPresent(loop -> host.listen(loop, from.notices::failed, from.notices::askedBack, undo));
            bridge.attach(this, from.slot); // last, because the guest may access it at once
            undo.moveTo(parts);
        }
    }

    private void show(Builder from) {
        Optional<Gsi> gsi = HostSide.has(device, IrqKind.INTX) ? from.gsi : Optional.empty();
        // The guest's ITS identifies the device by its requester id, of bus 0 and function 0.
        OptionalInt id = from.vm.isArm64() ? OptionalInt.of(from.slot << 3) : OptionalInt.empty();
        GuestMsix msix = HostSide.has(device, IrqKind.MSIX) ? new GuestMsix(forwarding, device, id) : null;
        GuestConfig config = new GuestConfig(
                ConfigSource.of(device.config()),
                bars,
                gsi.map(Gsi::number).orElse(-1),
                msix != null,
                HostSide.has(device, IrqKind.MSI)
                        ? Optional.of(control -> new GuestMsi(forwarding, device, id, control))
                        : Optional.empty());
        show(config, msix, pin -> forwarding.forward(device.intx(), pin), null);
    }

    private void addBars(Vm vm, Undo undo) {
        PciConfig space = device.config();
        for (int i = 0; i < GuestConfig.BARS; i++) {
            Region region = device.region(i);
            if (region.size() > 0) {
                int flags = space.getInt(GuestConfig.BAR_0 + Integer.BYTES * i);
                addBar(undo.add(new Bar(vm, i, Bar.Registers.of(region), flags)));
            }
        }
    }

    @Override
    void writing(int at, int size, int value) {
        if (host.isStale() && config().willMaster(at, size, value)) {
            warnings.attempt("it is not reset: ", this::resetDevice);
        }
    }

    @Override
    void resetDevice() {
        host.reset(config());
    }

    @Override
    boolean hasOwnLock() {
        return false;
    }

    /**
     * Reports the guest's EOI for the INTx pin, if your own IOAPIC injects the line. If the device still asserts the
     * line, it interrupts again. Does nothing if KVM or a {@link io.kvmirq.irqchip.GuestIoapic} injects the line, or
     * while INTx is not forwarded. Does not take this function's lock, so an injector may call it.
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
}
