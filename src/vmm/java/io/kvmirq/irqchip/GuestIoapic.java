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
import io.kvmirq.kvm.MsiOutcome;
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
 * The IOAPIC of a guest with a split irqchip. GSI n is pin n. Its VMM traps accesses to {@link #ADDRESS} and hands them
 * to {@link #read} and {@link #write}; it answers KVM_EXIT_IOAPIC_EOI by {@link #endOfInterrupt}. Thread-safe.
 *
 * <p>An edge is a line that becomes high; while its pin is masked it is lost. A level interrupts while its line is high,
 * the pin is not masked and no EOI is awaited (Remote IRR). A pin's message goes to the LAPICs by KVM_SIGNAL_MSI. Before
 * a level-triggered pin sends a message for the first time, its GSI is routed to the message: by the routes of these
 * GSIs KVM knows which EOIs to tell. The polarity is kept and means nothing: a high line is an asserted one. Destinations
 * have 8 bits.
 *
 * <p>Several devices may share a pin, which is high while one of their lines is: give each forwarding, and each emulated
 * device, a {@link #source} of its own. This object is a source, too. A device behind {@link
 * io.kvmirq.forward.Forwarding} masked its line with the interrupt: {@link #addEndListener} unmasks it.
 *
 * <p>Locks: one, for the registers and lines. It is held during calls of the kernel, not during end listeners.
 *
 * <p>Source: 82093AA datasheet, with the EOI register of version 0x20. KVM's IOAPIC in arch/x86/kvm/ioapic.c does the
 * same for the same accesses, except that its version is 0x11 and that it ignores writes of the EOI register, which a
 * guest then does not use; {@code kvm_scan_ioapic_routes()} in arch/x86/kvm/irq.c reads the routes.
 */
public final class GuestIoapic implements Userspace.Injector {
    /** The guest-physical address of the registers. */
    public static final long ADDRESS = IoapicEntry.REGISTERS;
    /** The size of the registers' address range in bytes. */
    public static final int BYTES = 0x100;

    /** As many pins as the 82093AA has. */
    public static final int PINS = 24;

    private static final int MOST_PINS = 120;

    private static final int EOI = 0x40;

    private final Vm vm;
    private final IoapicRegisters registers;
    /** For each pin, how many sources drive it high. */
    private final int[] drivers;

    private final List<List<Runnable>> ended;
    private final Source ours = new Source();

    /** The lines of one device, or of all interrupts of a forwarding. */
    private final class Source implements Userspace.Injector {
        private final BitSet high = new BitSet();

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
     * An IOAPIC as after a reset: all pins are masked.
     *
     * @param vm with a split irqchip of as many pins ({@link Vm#createSplitIrqchip})
     * @param pins 1 to 120; 24 as a rule
     * @throws IllegalArgumentException for another number of pins, and for a VM with the full irqchip
     * @throws UnsupportedOperationException on arm64
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

    /** KVM refuses to read an IOAPIC that it does not have. */
    private static boolean hasIoapic(Vm vm) {
        try {
            vm.ioapic();
            return true;
        } catch (KernelException e) {
            if (e.errno().equals(Errno.ENXIO) || e.errno().equals(Errno.EINVAL)) {
                return false;
            }
            throw e;
        }
    }

    /** The number of its pins. */
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

    /** The guest reads the low bytes of a register, at an offset from {@link #ADDRESS}; 0 without a register. */
    public synchronized int read(long at, int size) {
        return low(size, registers.read(at));
    }

    /**
     * The guest writes.
     *
     * @param at the offset from {@link #ADDRESS}
     * @param size in bytes; bytes of a register that are not written become 0
     * @throws io.kvmirq.KernelException if KVM refuses the route of a level-triggered pin; the register is written
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
     * Writes the selected register. A guest that serves a device under a mask of its pin may have ended the interrupt
     * long before: then the line may be high only because nobody was asked since.
     *
     * @return the pin that is unmasked, if those that drive it high have to be asked first; else less than 0
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

    /** A pin's redirection entry, 64 bits: {@link IoapicEntry}. */
    public synchronized long entry(int pin) {
        requirePin(pin);
        return registers.entry(pin);
    }

    /** Whether a pin's line is high. */
    public synchronized boolean isHigh(int pin) {
        requirePin(pin);
        return drivers[pin] > 0;
    }

    // Lines

    /** Lines of their own: the pin is high while one source drives it high. */
    public Userspace.Injector source() {
        return new Source();
    }

    /** Delivers a message, which passes by the IOAPIC. */
    @Override
    public void message(MsiMessage message) {
        ours.message(message);
    }

    /** Drives a line of this object's own source; IllegalArgumentException if the GSI is no pin. */
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
        if (!(vm.signal(message) instanceof MsiOutcome.NotAccepted)) {
            registers.awaitEoi(pin);
        }
    }

    // The end of an interrupt

    /**
     * Runs a step whenever a level-triggered interrupt of a pin ends, before its line is looked at: {@link
     * io.kvmirq.forward.ForwardedIrq#endOfInterrupt}, which lowers the line and unmasks the device. It also runs when
     * the guest unmasks the pin of a high line.
     *
     * @param step called with no lock held, in the thread of the access or the EOI. If it throws, the access or the EOI
     *     throws the exception after all other work is done
     */
    public synchronized void addEndListener(Gsi pin, Runnable step) {
        Objects.requireNonNull(pin, "pin is null");
        Objects.requireNonNull(step, "step is null");
        ended.get(requirePin(pin)).add(step);
    }

    /** Ends {@link #addEndListener}. */
    public synchronized void removeEndListener(Gsi pin, Runnable step) {
        Objects.requireNonNull(pin, "pin is null");
        Objects.requireNonNull(step, "step is null");
        ended.get(requirePin(pin)).remove(step);
    }

    /**
     * A LAPIC ended the interrupt of this vector: KVM_EXIT_IOAPIC_EOI. A level-triggered pin whose line is still high
     * sends it again.
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

    /** The guest was reset: all pins are masked, no EOI is awaited. Lines stay as they are. */
    public synchronized void reset() {
        registers.reset();
    }

    // Save and restore

    private int stateBytes() {
        return registers.stateBytes() + (pins() + Byte.SIZE - 1) / Byte.SIZE;
    }

    /**
     * The registers, and the lines of this object's own source, for {@link #restore}. After a restore the other sources
     * drive their lines again: emulated devices before the guest runs, forwardings when the device asserts its line.
     */
    public synchronized byte[] state() {
        ByteBuffer state = ByteBuffer.allocate(stateBytes()).order(ByteOrder.LITTLE_ENDIAN);
        registers.save(state);
        state.put(ours.high.toByteArray());
        return state.array();
    }

    /**
     * Takes over a state that {@link #state} returned. It sends no message before {@link #settle}. The routes of its
     * pins are the VM's.
     *
     * @throws IllegalArgumentException if the state is that of an IOAPIC with another number of pins
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

    /** Each level-triggered pin whose line is high sends its message, unless it is masked or awaits an EOI. */
    public synchronized void settle() {
        for (int pin = 0; pin < pins(); pin++) {
            serviceLevel(pin);
        }
    }
}
