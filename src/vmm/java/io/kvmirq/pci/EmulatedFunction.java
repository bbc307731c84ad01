/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.Route;
import io.kvmirq.forward.Userspace;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.Region;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/**
 * A PCI function that this process emulates on a guest's {@link PciHostBridge}, which may also have host devices. This
 * class implements the configuration space, the BARs, INTx, MSI, MSI-X, and doorbells, which signal an eventfd at a
 * guest write. The user of this class implements the device's {@link Registers}.
 *
 * <pre>{@code
 * EmulatedVectors vectors = EmulatedVectors.create(vm, 4);
 * EmulatedFunction nic = EmulatedFunction.builder(bus, 2, vm, registers)
 *         .ids(0x1af4, 0x1041)
 *         .type(0x020000)
 *         .bar(0, 0x4000)
 *         .msix(vectors, 0, 0x2000, 0x3000)
 *         .doorbell(0, 0x1000, 4, bell)
 *         .build();
 * ...
 * vectors.signal(2);
 * }</pre>
 *
 * <p>While the guest has a BAR enabled, each doorbell in the BAR is an ioeventfd at the address that the guest chose.
 * {@link PciFunction} describes the guest's view of emulated functions and host devices.
 *
 * {@snippet class="io.kvmirq.snippets.VmmSnippetsTest" region="function"}
 */
public final class EmulatedFunction extends PciFunction {
    private static final int FIRST_CAPABILITY = 0x40;
    private static final int HAS_CAPABILITIES = 1 << 4;
    private static final int SUBSYSTEM = 0x2c;
    private static final int MSI_CONTROL = 1 << 8 | 1 << 7; // masks, 64-bit address
    private static final long LARGEST_BAR = 1L << 31;
    private static final System.Logger LOGGER = System.getLogger("io.kvmirq");

    private final Registers registers;

    /**
     * The registers behind the BARs. Several vCPU threads can call these methods at once, and the library holds no lock
     * meanwhile. Accesses can arrive even during and after a reset or {@link #close}, unless you pause the vCPUs first.
     * If a method throws an exception, the guest reads all ones or its write has no effect, and the VMM gets one
     * warning until the next reset. {@link PciHostBridge#handle} rethrows an {@link Error}, so that {@code VcpuThreads}
     * ends the guest.
     */
    public interface Registers {
        /**
         * Returns the value of a register that the guest reads.
         *
         * @param at the register's offset in the BAR, in bytes
         * @param size the number of bytes: 1, 2, 4 or 8; {@code at} is a multiple of it
         */
        long read(int bar, long at, int size);

        /** Handles the guest's write of a register. A write that matches a doorbell does not call this method. */
        void write(int bar, long at, int size, long value);

        /** Resets the device at a guest reset, after interrupts and BARs. Pending signals are dropped afterwards. */
        default void reset() {}

        /** Returns the device's register values, which a snapshot saves for {@link #restore}. */
        default byte[] state() {
            return new byte[0];
        }

        /** Restores registers that {@link #state} returned. */
        default void restore(byte[] state) {}
    }

    private record Doorbell(long at, int length, OptionalLong data, EventFd event) {
        boolean takes(long offset, int size, long value) {
            return offset == at && (length == 0 || length == size) && (data.isEmpty() || data.getAsLong() == value);
        }

        String writes() {
            return "of " + (length == 0 ? "any length" : length + " bytes") + " and "
                    + (data.isEmpty() ? "any value" : "value 0x" + Long.toHexString(data.getAsLong()));
        }

        /** Source: {@code ioeventfd_check_collision()} in virt/kvm/eventfd.c. */
        boolean collides(Doorbell other) {
            boolean anyLength = length == 0 || other.length == 0;
            boolean anyData = data.isEmpty() || other.data.isEmpty();
            return at == other.at && (anyLength || length == other.length && (anyData || data.equals(other.data)));
        }

        IoAddress address(boolean ports, long bar) {
            return ports
                    ? new IoAddress.Port((int) (bar + at), length, data)
                    : new IoAddress.Mmio(bar + at, length, data);
        }
    }

    /** Builds an emulated function. */
    public static final class Builder {
        private final PciHostBridge bridge;
        private final int slot;
        private final Vm vm;
        private final Registers registers;
        private final ByteBuffer image = ByteBuffer.allocate(GuestConfig.SIZE).order(ByteOrder.LITTLE_ENDIAN);
        private final Map<Integer, BarRegisters> bars = new TreeMap<>();
        private int link = 0x34;
        private int free = FIRST_CAPABILITY;
        private @Nullable EmulatedVectors msix;
        private Optional<IntFunction<GuestMsi>> msi = Optional.empty();
        private final Set<EmulatedVectors> vectors = new HashSet<>();
        private Optional<Gsi> pin = Optional.empty();
        private @Nullable Wire wire;
        private Consumer<String> warned = sentence -> LOGGER.log(System.Logger.Level.WARNING, sentence);

        private Builder(PciHostBridge bridge, int slot, Vm vm, Registers registers) {
            this.bridge = bridge;
            this.slot = slot;
            this.vm = vm;
            this.registers = registers;
            image.putShort(6, (short) HAS_CAPABILITIES);
        }

        private static int word(int value, String what) {
            if (value < 0 || value > 0xffff) {
                throw new IllegalArgumentException(
                        what + " 0x" + Integer.toHexString(value) + ": expected 16 bits, 0 to 0xffff");
            }
            return value;
        }

        /** Sets the vendor and device ids, 16 bits each, and the subsystem ids unless {@link #subsystem} sets them. */
        public Builder ids(int vendor, int device) {
            image.putShort(0, (short) word(vendor, "vendor id")).putShort(2, (short) word(device, "device id"));
            if (image.getInt(SUBSYSTEM) == 0) {
                subsystem(vendor, device);
            }
            return this;
        }

        /** Sets the subsystem's vendor id and device id, 16 bits each. */
        public Builder subsystem(int vendor, int id) {
            image.putShort(SUBSYSTEM, (short) word(vendor, "vendor id of a subsystem"));
            image.putShort(SUBSYSTEM + 2, (short) word(id, "id of a subsystem"));
            return this;
        }

        /** Sets the 24-bit class code (class, sub-class, programming interface), such as 0x020000 for Ethernet. */
        public Builder type(int code) {
            if (code < 0 || code > 0xffffff) {
                throw new IllegalArgumentException(
                        "class code 0x" + Integer.toHexString(code) + ": expected 24 bits, 0 to 0xffffff");
            }
            image.putInt(8, code << Byte.SIZE | 1); // revision 1
            return this;
        }

        /**
         * Adds a BAR that the guest accesses as memory.
         *
         * @param index 0 to 5
         * @param size the BAR's size in bytes: a power of two from 16 to 2 GiB
         */
        public Builder bar(int index, long size) {
            return bar(index, size, false);
        }

        /** Adds an I/O port BAR (x86), whose size is a power of two from 4 to 256 bytes. */
        public Builder ports(int index, int size) {
            return bar(index, size, true);
        }

        private Builder bar(int index, long size, boolean ports) {
            boolean fits = ports ? size >= 4 && size <= 256 : size >= 16 && size <= LARGEST_BAR;
            if (index < 0 || index >= GuestConfig.BARS || Long.bitCount(size) != 1 || !fits) {
                throw new IllegalArgumentException("BAR " + index + " of " + size + " bytes: expected an index of 0 to "
                        + (GuestConfig.BARS - 1) + " and a power of two from "
                        + (ports ? "4 to 256" : "16 to 2147483648"));
            }
            if (bars.putIfAbsent(index, new BarRegisters(vm, index, size, ports, registers)) != null) {
                throw new IllegalArgumentException("BAR " + index + " already exists: give each BAR its own index");
            }
            return this;
        }

        private BarRegisters part(int index, long at, long length, String what) {
            BarRegisters bar = bars.get(index);
            if (bar == null || at < 0 || at > bar.size() - length) {
                throw new IllegalArgumentException(
                        what + " at 0x" + Long.toHexString(at) + " of BAR " + index + ": expected "
                                + (bar == null
                                        ? "a BAR that was added before"
                                        : "a place in its 0x" + Long.toHexString(bar.size()) + " bytes"));
            }
            return bar;
        }

        private int capability(int id, int length) {
            int at = free;
            if (at + length > GuestConfig.SIZE) {
                throw new IllegalArgumentException("capability 0x" + Integer.toHexString(id) + " of " + length
                        + " bytes: configuration space has " + (GuestConfig.SIZE - at) + " left");
            }
            image.put(link, (byte) at).put(at, (byte) id);
            link = at + 1;
            free = at + length + 3 & ~3;
            return at;
        }

        /**
         * Adds MSI-X with these vectors to the function.
         *
         * @param bar the memory BAR that has the MSI-X table and the pending bits
         * @param table the byte offset of the MSI-X table in the BAR, a multiple of 8; each vector takes 16 bytes
         * @param pending the byte offset of the pending bits in the BAR, a multiple of 8; each vector takes one bit
         */
        public Builder msix(EmulatedVectors vectors, int bar, long table, long pending) {
            long entries =
                    (long) Objects.requireNonNull(vectors, "vectors is null").count() * GuestMsix.ENTRY_BYTES;
            long bits = (vectors.count() + Long.SIZE - 1L) / Long.SIZE * Long.BYTES;
            boolean apart = table + entries <= pending || pending + bits <= table;
            if (msix != null || table % 8 != 0 || pending % 8 != 0 || !apart) {
                throw new IllegalArgumentException("MSI-X with a table at 0x" + Long.toHexString(table)
                        + " and pending bits at 0x" + Long.toHexString(pending)
                        + ": expected one MSI-X, and multiples of 8 that do not overlap");
            }
            BarRegisters place = part(bar, table, entries, "a table");
            part(bar, pending, bits, "pending bits");
            if (place.isPorts()) {
                throw new IllegalArgumentException("BAR " + bar + " is one of ports: MSI-X needs one of memory");
            }
            int at = capability(GuestConfig.MSIX, GuestConfig.MSIX_LENGTH);
            image.putShort(at + 2, (short) (vectors.count() - 1));
            image.putInt(at + 4, (int) table | bar).putInt(at + 8, (int) pending | bar);
            place.trapped.add(new Region.Area(table, entries));
            place.trapped.add(new Region.Area(pending, bits));
            msix = vectors;
            this.vectors.add(vectors);
            return this;
        }

        /**
         * Adds MSI with per-vector masks and 1, 2, 4, 8, 16 or 32 vectors. If MSI and {@link #msix} share vectors, only
         * one of the two delivers interrupts at a time. With separate vectors, MSI delivers interrupts even while MSI-X
         * is enabled.
         */
        public Builder msi(EmulatedVectors vectors) {
            int count = Objects.requireNonNull(vectors, "vectors is null").count();
            if (msi.isPresent() || Integer.bitCount(count) != 1 || count > Integer.SIZE) {
                throw new IllegalArgumentException(
                        "MSI with " + count + " vectors: expected one MSI, and a power of two up to 32");
            }
            int at = capability(GuestConfig.MSI, 24);
            image.putShort(at + 2, (short) (MSI_CONTROL | Integer.numberOfTrailingZeros(count) << 1));
            msi = Optional.of(control -> new GuestMsi(vectors, requester(), control));
            this.vectors.add(vectors);
            return this;
        }

        /**
         * Adds the interrupt pin INTA#, connected to this pin of KVM's IOAPIC and PIC, or on arm64 to the SPI of this
         * GSI. {@link EmulatedFunction#raiseLine} drives the pin. Functions of the bus may share a GSI, but an emulated
         * function must not share one with a host device. On arm64, KVM keeps a single level for both. On x86 since
         * Linux 6.4, when the guest unmasks the shared pin, {@code ioapic_write_indirect()} signals only the host
         * device's resample eventfd, and forgets this function's level until a line of the pin changes.
         *
         * @throws IllegalArgumentException if the VM has no in-kernel IOAPIC, the GSI is not one of its pins, or the
         *     function has a pin already
         */
        public Builder intx(Gsi pin) {
            Objects.requireNonNull(pin, "pin is null");
            if (!vm.isArm64() && vm.routes().of(pin).stream().noneMatch(Route.Pin.class::isInstance)) {
                throw new IllegalArgumentException(pin + " of " + vm + " is not a pin of an in-kernel IOAPIC: create"
                        + " the irqchip first, or pass the source of a GuestIoapic: intx(pin, ioapic.source())");
            }
            return intx(pin, Wire.of(vm, pin));
        }

        /**
         * Adds the interrupt pin INTA#, connected to a pin of an IOAPIC that this process emulates.
         *
         * @param source the {@link io.kvmirq.irqchip.GuestIoapic#source} of this function, or the VMM's injector. It is
         *     called in the thread that changes the level, and this library holds no lock during the call
         * @throws IllegalArgumentException if the IOAPIC lacks the pin or is another VM's, or the function has a pin
         */
        public Builder intx(Gsi pin, Userspace.Injector source) {
            Objects.requireNonNull(pin, "pin is null");
            Objects.requireNonNull(source, "source is null").requireOf(vm, List.of(pin));
            return intx(pin, Wire.of(source, pin));
        }

        private Builder intx(Gsi to, Wire by) {
            if (wire != null) {
                throw new IllegalArgumentException(
                        "INTA# is connected to " + pin.orElseThrow() + " already: a function has one pin");
            }
            pin = Optional.of(to);
            wire = by;
            return this;
        }

        /**
         * Adds a vendor-specific capability, such as a virtio capability.
         *
         * @param body the bytes of the capability after id, next pointer and length
         */
        public Builder vendorCapability(byte... body) {
            int at = capability(GuestConfig.VENDOR, Objects.requireNonNull(body, "body is null").length + 3);
            image.put(at + 2, (byte) (body.length + 3));
            for (int i = 0; i < body.length; i++) {
                image.put(at + 3 + i, body[i]);
            }
            return this;
        }

        /**
         * Adds a doorbell: a guest write at this BAR offset signals the eventfd without an exit.
         *
         * @param length the length in bytes of writes that match: 1, 2, 4 or 8; 0 matches any length
         * @throws IllegalArgumentException if {@code at} is not in the BAR, or {@code event} has another {@code Kernel}
         * @throws io.kvmirq.kernel.ClosedHandleException if the eventfd is closed
         */
        public Builder doorbell(int bar, long at, int length, EventFd event) {
            return doorbell(bar, at, length, OptionalLong.empty(), event);
        }

        /**
         * Adds a doorbell like {@link #doorbell(int,long,int,EventFd)}, rung only by writes of the value {@code data}.
         */
        public Builder doorbell(int bar, long at, int length, long data, EventFd event) {
            return doorbell(bar, at, length, OptionalLong.of(data), event);
        }

        private Builder doorbell(int bar, long at, int length, OptionalLong data, EventFd event) {
            EmulatedVectors.requireOf(vm, event);
            BarRegisters part = part(bar, at, Math.max(1, length), "a doorbell");
            Doorbell bell = new Doorbell(at, length, data, event);
            bell.address(part.isPorts(), 0); // refuses a length that no guest can write
            part.doorbells.add(bell);
            return this;
        }

        /**
         * Sets the receiver of this function's warnings, which are one sentence each. It is called without a lock. By
         * default, warnings go to the logger {@code io.kvmirq}.
         */
        public Builder warned(Consumer<String> receiver) {
            warned = Objects.requireNonNull(receiver, "receiver is null");
            return this;
        }

        private OptionalInt requester() {
            return vm.isArm64() ? OptionalInt.of(slot << 3) : OptionalInt.empty();
        }

        /**
         * Adds the function to the bus.
         *
         * @throws IllegalArgumentException if {@link #ids} was not called, the slot is in use, the bus has no room for
         *     a BAR, guest memory is in the bridge's hole, a doorbell overlaps the table or the pending bits of MSI-X,
         *     two doorbells match the same write, or the vectors belong to another VM or function
         */
        public EmulatedFunction build() {
            if (image.getInt(0) == 0) {
                throw new IllegalArgumentException("a function without ids is an empty slot: call ids(vendor, device)");
            }
            bars.values().forEach(BarRegisters::requireApart);
            return new EmulatedFunction(this);
        }
    }

    /** The registers behind one BAR: the user's, and the doorbells. */
    private static final class BarRegisters implements Bar.Registers {
        private final Vm vm;
        private final int index;
        private final long size;
        private final boolean ports;
        private final Registers registers;
        private final List<Doorbell> doorbells = new ArrayList<>();
        private final List<IoEventFd> rung = new ArrayList<>();
        /** The table and the pending bits of MSI-X. */
        private final List<Region.Area> trapped = new ArrayList<>();

        BarRegisters(Vm vm, int index, long size, boolean ports, Registers registers) {
            this.vm = vm;
            this.index = index;
            this.size = size;
            this.ports = ports;
            this.registers = registers;
        }

        boolean isPorts() {
            return ports;
        }

        /**
         * Rejects two doorbells that match the same write, and a doorbell in the MSI-X table or PBA, where its ioeventfd
         * would swallow the guest's write.
         */
        void requireApart() {
            for (int i = 0; i < doorbells.size(); i++) {
                Doorbell bell = doorbells.get(i);
                doorbells.subList(0, i).stream()
                        .filter(bell::collides)
                        .findFirst()
                        .ifPresent(other -> {
                            throw new IllegalArgumentException(
                                    "two doorbells at 0x" + Long.toHexString(bell.at) + " of BAR "
                                            + index + " match the same write, one " + other.writes() + " and one "
                                            + bell.writes()
                                            + ": use two offsets, or different lengths or values");
                        });
                for (Region.Area area : trapped) {
                    if (bell.at < area.at() + area.length() && area.at() < bell.at + Math.max(1, bell.length)) {
                        throw new IllegalArgumentException(
                                "a doorbell at 0x" + Long.toHexString(bell.at) + " of BAR " + index
                                        + " is in MSI-X's 0x" + Long.toHexString(area.length()) + " bytes at 0x"
                                        + Long.toHexString(area.at()) + ": move one of them");
                    }
                }
            }
        }

        @Override
        public long size() {
            return size;
        }

        @Override
        public long read(long at, int bytes) {
            return registers.read(index, at, bytes);
        }

        /** Rings a doorbell whose ioeventfd the kernel refused. */
        @Override
        public void write(long at, int bytes, long value) {
            Optional<Doorbell> bell = doorbells.stream()
                    .filter(doorbell -> doorbell.takes(at, bytes, value))
                    .findFirst();
            if (bell.isPresent()) {
                bell.get().event.signal();
            } else {
                registers.write(index, at, bytes, value);
            }
        }

        @Override
        public void shown(long address, Bar.Answers answers) {
            for (Doorbell bell : doorbells) {
                if (answers.at(address + bell.at, Math.max(1, bell.length))) {
                    rung.add(vm.assignIoEventFd(bell.address(ports, address), bell.event));
                }
            }
        }

        @Override
        public void hidden() {
            rung.forEach(IoEventFd::close);
            rung.clear();
        }
    }

    /**
     * Returns a builder for an emulated function.
     *
     * @param slot the function's slot on the bus, 1 to 31
     */
    public static Builder builder(PciHostBridge bridge, int slot, Vm vm, Registers registers) {
        return new Builder(
                Objects.requireNonNull(bridge, "bridge is null"),
                slot,
                Objects.requireNonNull(vm, "vm is null"),
                Objects.requireNonNull(registers, "registers is null"));
    }

    private EmulatedFunction(Builder from) {
        super(
                from.bridge,
                from.slot,
                from.vm,
                String.format("%04x:%04x", from.image.getShort(0), from.image.getShort(2)),
                from.pin,
                from.warned);
        this.registers = from.registers;
        try (Undo undo = new Undo()) {
            undo.add(() -> from.bridge.detach(this));
            from.bridge.requireFree(from.slot);
            from.bridge.requireOutside(from.vm);
            for (EmulatedVectors vectors : from.vectors) {
                vectors.begin(from.vm, this);
                undo.add(() -> vectors.end(this));
            }
            from.bars.forEach((index, part) -> addBar(undo.add(new Bar(from.vm, index, part, part.isPorts() ? 1 : 0))));
            GuestMsix msix = from.msix == null ? null : new GuestMsix(from.msix, from.requester());
            int line = from.pin.map(Gsi::number).orElse(-1);
            GuestConfig config =
                    new GuestConfig(ConfigSource.of(from.image.array()), bars, line, msix != null, from.msi);
            Wire wire = from.wire == null ? null : from.bridge.shared(from.wire);
            show(
                    config,
                    msix,
                    pin -> {
                        throw new IllegalStateException("a pin without a wire");
                    },
                    wire);
            undo.add(this::stop);
            begin();
            from.bridge.attach(this, from.slot); // last, because the guest may access it at once
            undo.moveTo(parts);
        }
    }

    /**
     * Asserts the function's INTA# until {@link #lowerLine}, a reset or {@link #close}. The pin is level-triggered, so
     * if it is still asserted at the guest's EOI, the guest gets the interrupt again. The Interrupt Status bit of
     * STATUS shows the level. The wire to the IOAPIC is low while the guest has set Interrupt Disable or enabled MSI or
     * MSI-X, and during {@link #hold}. It rises afterwards if the pin is still asserted. Idempotent. Thread-safe.
     *
     * @throws IllegalStateException if the function has no pin
     * @throws io.kvmirq.kernel.ClosedHandleException after {@link #close}
     * @throws io.kvmirq.KernelException if KVM refuses the level. Exceptions of the source of {@link Builder#intx} are
     *     passed on too. In both cases the next change of the pin retries
     */
    public void raiseLine() {
        setLine(true);
    }

    /** Ends {@link #raiseLine}. Call this when the guest has served the function, before its EOI. Throws like {@code raiseLine}. */
    public void lowerLine() {
        setLine(false);
    }

    @Override
    void wasReset() {
        try {
            registers.reset();
        } finally {
            forgetMessages();
        }
    }

    @Override
    boolean hasOwnLock() {
        return true;
    }

    @Override
    byte[] registers() {
        return registers.state();
    }

    @Override
    void restoreRegisters(byte[] saved) {
        registers.restore(saved);
    }
}
