/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.irqchip;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.arch.apic.IoapicEntry;
import io.kvmirq.forward.Userspace;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vmm.Steps;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Objects;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;

/**
 * The IOAPIC of a guest with a split irqchip. GSI n drives pin n. The VMM passes guest accesses at {@link #ADDRESS} to
 * {@link #read} and {@link #write}, and calls {@link #endOfInterrupt} on KVM_EXIT_IOAPIC_EOI. Thread-safe.
 *
 * <p>An edge-triggered pin interrupts when its line becomes high; an edge on a masked pin is lost. A level-triggered
 * pin interrupts while its line is high, the pin is not masked and does not await an EOI (Remote IRR). This class sends
 * a pin's MSI message to the LAPICs by KVM_SIGNAL_MSI. KVM reports the EOI of a vector only if the GSI route of a pin
 * has this vector. Before a level-triggered pin sends a message for the first time, this class routes the pin's GSI to
 * the message. The polarity bit is stored and has no effect: a high line is asserted. Destination APIC ids have 8 bits.
 *
 * <p>Several devices may share a pin. The pin is high while any of their lines is high. Create a {@link #source} for
 * each forwarding and each emulated device. All calls of {@link #line} count as one more source. VFIO masks a device's
 * forwarded line at each interrupt. The VMM unmasks the line at the guest's EOI, by {@link #addEndListener}.
 *
 * <p>One lock guards registers and lines. Kernel calls are made with the lock held, end listeners without it.
 *
 * <p>Source: 82093AA datasheet, plus the EOI register of IOAPIC version 0x20. KVM's IOAPIC in arch/x86/kvm/ioapic.c
 * behaves like this class, except that it reports version 0x11 and ignores writes of the EOI register; {@code
 * kvm_scan_ioapic_routes()} in arch/x86/kvm/irq.c reads the GSI routes.
 *
 * {@snippet class="io.kvmirq.snippets.VmmSnippetsTest" region="ioapic"}
 */
public final class GuestIoapic implements Userspace.Injector {
    /** The guest-physical address of the registers. */
    public static final long ADDRESS = IoapicEntry.REGISTERS;
    /** The size of the registers' address range in bytes. */
    public static final int BYTES = 0x100;

    /** The number of pins of the 82093AA, Intel's IOAPIC chip. */
    public static final int PINS = 24;

    private static final int MOST_PINS = 120;

    private static final int EOI = 0x40;

    private final Vm vm;
    private final IoapicRegisters registers;
    /** For each pin, the number of sources that drive it high. */
    private final int[] drivers;

    private final List<List<Runnable>> ended;
    private final Source ours = new Source();

    /** The lines of one device, or of all interrupts of a forwarding. */
    private final class Source implements Userspace.Injector {
        private final BitSet high = new BitSet();

        boolean isOf(GuestIoapic ioapic) {
            return GuestIoapic.this == ioapic;
        }

        @Override
        public void message(MsiMessage message) {
            vm.signal(message);
        }

        @Override
        public void line(Gsi gsi, boolean isHigh) {
            drive(this, requirePin(gsi), isHigh);
        }
    }

    /**
     * Creates an IOAPIC in the state after a reset: all pins are masked.
     *
     * @param vm a VM with a split irqchip of the same number of pins ({@link io.kvmirq.kvm.X86Vm#createSplitIrqchip})
     * @param pins the number of pins, 1 to 120; usually 24
     * @throws IllegalArgumentException if {@code pins} is out of range, or the VM has the full irqchip
     * @throws UnsupportedOperationException if the VM is an arm64 VM
     */
    public GuestIoapic(Vm vm, int pins) {
        Objects.requireNonNull(vm, "vm is null");
        if (pins < 1 || pins > MOST_PINS) {
            throw new IllegalArgumentException("an IOAPIC of " + pins + " pins: expected 1 to " + MOST_PINS);
        }
        if (hasIoapic(vm)) {
            throw new IllegalArgumentException(
                    vm + " has an IOAPIC in the kernel, which takes its GSIs and its accesses:"
                            + " create the VM with createSplitIrqchip, or leave GuestIoapic out");
        }
        this.vm = vm;
        this.registers = new IoapicRegisters(pins);
        this.drivers = new int[pins];
        this.ended = IntStream.range(0, pins)
                .<List<Runnable>>mapToObj(pin -> new ArrayList<>())
                .toList();
    }

    /** Whether KVM has an IOAPIC: if not, it refuses to read one. */
    private static boolean hasIoapic(Vm vm) {
        try {
            vm.x86().ioapic();
            return true;
        } catch (KernelException e) {
            if (e.errno().equals(Errno.ENXIO) || e.errno().equals(Errno.EINVAL)) {
                return false;
            }
            throw e;
        }
    }

    /** The number of pins. */
    public int pins() {
        return registers.pins();
    }

    private void requirePin(int pin) {
        if (pin < 0 || pin >= pins()) {
            throw new IllegalArgumentException(
                    "pin " + pin + " is no pin of this IOAPIC, which has 0 to " + (pins() - 1));
        }
    }

    private int requirePin(Gsi gsi) {
        if (Objects.requireNonNull(gsi, "gsi is null").number() >= pins()) {
            throw new IllegalArgumentException(gsi + " is no pin of this IOAPIC, which has 0 to " + (pins() - 1));
        }
        return gsi.number();
    }

    /** The low bytes of a register. */
    private static int low(int size, int value) {
        return size >= Integer.BYTES ? value : value & (1 << size * Byte.SIZE) - 1;
    }

    // Registers

    /**
     * Handles the guest's read of a register at an offset from {@link #ADDRESS}. Returns the register's low bytes,
     * {@code size} of them; 0 if the offset has no register.
     */
    public synchronized int read(long at, int size) {
        return low(size, registers.read(at));
    }

    /**
     * Handles the guest's write of a register.
     *
     * @param at the register's offset from {@link #ADDRESS}, in bytes
     * @param size the number of low bytes that the guest writes; the register's other bytes become 0
     * @throws io.kvmirq.KernelException if KVM refuses a level-triggered pin's route; the register keeps the new value
     */
    public void write(long at, int size, int value) {
        int written = low(size, value);
        if (at == EOI) {
            endOfInterrupt(new InterruptVector(written & 0xff));
        } else if (at == IoapicRegisters.SELECT) {
            synchronized (this) {
                registers.select(written);
            }
        } else if (at == IoapicRegisters.WINDOW) {
            int unmasked = writeRegister(written);
            if (unmasked >= 0) {
                try {
                    tellEnded(pin -> pin == unmasked);
                } finally {
                    synchronized (this) {
                        serviceLevel(unmasked);
                    }
                }
            }
        }
    }

    /**
     * Writes the selected register. A guest may have served a device while the pin was masked: then the line may be
     * high only because its source was not asked since.
     *
     * @return the pin that this write unmasks, if its end listeners must run first; else less than 0
     */
    private synchronized int writeRegister(int value) {
        int pin = registers.selectedPin();
        boolean masked = pin >= 0 && registers.is(IoapicEntry.MASKED, pin);
        registers.write(value);
        if (pin < 0) {
            return -1;
        }
        boolean unmasks = masked && !registers.is(IoapicEntry.MASKED, pin);
        if (unmasks && isDue(pin) && !ended.get(pin).isEmpty()) {
            return pin;
        }
        serviceLevel(pin);
        return -1;
    }

    /** Returns a pin's redirection entry of 64 bits, as {@link IoapicEntry} describes it. */
    public synchronized long entry(int pin) {
        requirePin(pin);
        return registers.entry(pin);
    }

    /** Returns whether any source drives a pin's line high. */
    public synchronized boolean isHigh(int pin) {
        requirePin(pin);
        return drivers[pin] > 0;
    }

    // Lines

    /** Creates a source that drives lines of this IOAPIC. A line is high while at least one source drives it high. */
    public Userspace.Injector source() {
        return new Source();
    }

    /**
     * Returns the pins whose lines this source drives high.
     *
     * @throws IllegalArgumentException unless {@link #source} of this object returned the source
     */
    public synchronized List<Gsi> driven(Userspace.Injector source) {
        if (!(source instanceof Source ofLines) || !ofLines.isOf(this)) {
            throw new IllegalArgumentException(
                    source + " drives no lines of this IOAPIC: give what its source() returned");
        }
        return ofLines.high.stream().mapToObj(Gsi::new).toList();
    }

    /** Delivers an MSI message to the LAPICs directly, because a device's MSI bypasses the IOAPIC. */
    @Override
    public void message(MsiMessage message) {
        ours.message(message);
    }

    /** Drives a pin's line, as one common {@link #source}. Throws IllegalArgumentException if {@code gsi} is no pin. */
    @Override
    public void line(Gsi gsi, boolean high) {
        ours.line(gsi, high);
    }

    private synchronized void drive(Source source, int pin, boolean isHigh) {
        if (source.high.get(pin) == isHigh) {
            if (isHigh) {
                serviceLevel(pin);
            }
            return;
        }
        source.high.set(pin, isHigh);
        drivers[pin] += isHigh ? 1 : -1;
        if (registers.is(IoapicEntry.LEVEL, pin)) {
            serviceLevel(pin);
        } else if (isHigh && drivers[pin] == 1) {
            service(pin);
        }
    }

    // Delivery

    private boolean isDue(int pin) {
        return registers.is(IoapicEntry.LEVEL, pin) && !registers.is(IoapicEntry.REMOTE_IRR, pin) && drivers[pin] > 0;
    }

    private void serviceLevel(int pin) {
        if (isDue(pin)) {
            service(pin);
        }
    }

    /** KVM remembers an interrupt for a LAPIC that does not exist, too: none but a rewrite as edge ends it. */
    private void service(int pin) {
        if (registers.is(IoapicEntry.MASKED, pin)) {
            return;
        }
        MsiMessage message = registers.message(pin);
        if (!registers.is(IoapicEntry.LEVEL, pin)) {
            vm.signal(message);
            return;
        }
        Gsi gsi = new Gsi(pin);
        if (!vm.routes().of(gsi).equals(List.of(new Route.Msi(gsi, message)))) {
            vm.routes().replace(gsi, message);
        }
        if (vm.signal(message).vcpus() != 0) {
            registers.awaitEoi(pin);
        }
    }

    // The end of an interrupt

    /**
     * Adds a step that runs at each EOI of a level-triggered pin, before this class reads whether the line is still
     * high. For a forwarded line, add {@link io.kvmirq.forward.ForwardedIrq#endOfInterrupt}, which lowers the line and
     * unmasks the device. The step also runs when the guest unmasks a pin whose line is high.
     *
     * @param step called with no lock held, in the thread that handles the EOI or the unmasking write. If the step
     *     throws, the thread first completes the EOI or write, and then gets the exception
     */
    public synchronized void addEndListener(Gsi pin, Runnable step) {
        Objects.requireNonNull(pin, "pin is null");
        Objects.requireNonNull(step, "step is null");
        ended.get(requirePin(pin)).add(step);
    }

    /** Removes a step that {@link #addEndListener} added. */
    public synchronized void removeEndListener(Gsi pin, Runnable step) {
        Objects.requireNonNull(pin, "pin is null");
        Objects.requireNonNull(step, "step is null");
        ended.get(requirePin(pin)).remove(step);
    }

    /**
     * Handles KVM_EXIT_IOAPIC_EOI: a LAPIC sent an EOI of this vector. If the line of a level-triggered pin with this
     * vector is still high, the pin sends its message again.
     */
    public void endOfInterrupt(InterruptVector vector) {
        int number = Objects.requireNonNull(vector, "vector is null").number();
        IntPredicate of = pin -> registers.isLevelOf(pin, number);
        try {
            tellEnded(of);
        } finally {
            synchronized (this) {
                for (int pin = 0; pin < pins(); pin++) {
                    if (of.test(pin)) {
                        registers.endEoi(pin);
                        serviceLevel(pin);
                    }
                }
            }
        }
    }

    private void tellEnded(IntPredicate of) {
        List<Runnable> steps = new ArrayList<>();
        synchronized (this) {
            IntStream.range(0, pins()).filter(of).forEach(pin -> steps.addAll(ended.get(pin)));
        }
        Steps.all(steps);
    }

    /** Resets the IOAPIC when the guest resets: all pins are masked, no pin awaits an EOI. Lines keep their levels. */
    public synchronized void reset() {
        registers.reset();
    }

    // Save and restore

    private int stateBytes() {
        return registers.stateBytes() + (pins() + Byte.SIZE - 1) / Byte.SIZE;
    }

    /**
     * Returns the registers, and the lines that {@link #line} drives, for {@link #restore}. After a restore, each
     * {@link #source} must drive its lines again: the source of an emulated device before the guest runs, the source of
     * a forwarding when the device asserts its line.
     */
    public synchronized byte[] state() {
        ByteBuffer state = ByteBuffer.allocate(stateBytes()).order(ByteOrder.LITTLE_ENDIAN);
        registers.save(state);
        state.put(ours.high.toByteArray());
        return state.array();
    }

    /**
     * Restores a state that {@link #state} returned. No pin sends a message before {@link #settle}. The state has no
     * GSI routes: a VM's snapshot saves them as part of the VM.
     *
     * @throws IllegalArgumentException if the state comes from an IOAPIC with another number of pins
     */
    public synchronized void restore(byte[] bytes) {
        if (Objects.requireNonNull(bytes, "bytes is null").length != stateBytes()) {
            throw new IllegalArgumentException(
                    bytes.length + " bytes are not the state of an IOAPIC of " + pins() + " pins");
        }
        ByteBuffer state = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        registers.restore(state);
        BitSet high = BitSet.valueOf(state);
        for (int pin = 0; pin < pins(); pin++) {
            drivers[pin] += (high.get(pin) ? 1 : 0) - (ours.high.get(pin) ? 1 : 0);
            ours.high.set(pin, high.get(pin));
        }
    }

    /** Sends the message of each level-triggered pin whose line is high, unless the pin is masked or awaits an EOI. */
    public synchronized void settle() {
        for (int pin = 0; pin < pins(); pin++) {
            serviceLevel(pin);
        }
    }
}
