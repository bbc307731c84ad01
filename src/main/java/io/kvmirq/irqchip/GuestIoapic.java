/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.irqchip;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.apic.IoapicEntry;
import io.kvmirq.forward.Userspace;
import io.kvmirq.kernel.Steps;
import io.kvmirq.kvm.MsiOutcome;
import io.kvmirq.kvm.Vm;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
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
 * <p>Source: 82093AA datasheet, with the EOI register of version 0x20; KVM's IOAPIC in arch/x86/kvm/ioapic.c does the
 * same for the same accesses, and {@code kvm_scan_ioapic_routes()} in arch/x86/kvm/irq.c reads the routes.
 */
public final class GuestIoapic implements Userspace.Injector {
    /** The guest-physical address of the registers. */
    public static final long ADDRESS = 0xfec0_0000L;
    /** How many bytes of addresses the registers take. */
    public static final int BYTES = 0x100;

    /** As many pins as the 82093AA has. */
    public static final int PINS = 24;

    private static final int MOST_PINS = 120;

    private static final int SELECT = 0x00;
    private static final int WINDOW = 0x10;
    private static final int EOI = 0x40;

    private static final int ID = 0;
    private static final int VERSION = 1;
    private static final int ARBITRATION = 2;
    private static final int ENTRIES = 0x10;
    private static final int VERSION_NUMBER = 0x20;
    private static final int ID_BITS = 0x0f00_0000;
    private static final int BYTE = 0xff;
    private static final long LOW = 0xffff_ffffL;
    private static final long READ_ONLY = IoapicEntry.REMOTE_IRR.mask() | IoapicEntry.SEND_PENDING.mask();

    private static final long MESSAGE_ADDRESS = 0xfee0_0000L;
    private static final int DESTINATION_SHIFT = 12;
    private static final int LOGICAL = 1 << 2;
    private static final int MODE_SHIFT = 8;
    /** Level-triggered, and asserted. */
    private static final int LEVEL_DATA = 1 << 15 | 1 << 14;

    private final Vm vm;
    private final long[] entries;
    /** For each pin, how many sources drive it high. */
    private final int[] drivers;

    private final List<List<Runnable>> ended;
    private final Source ours = new Source();
    private int selected;
    private int id;

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
     */
    public GuestIoapic(Vm vm, int pins) {
        if (pins < 1 || pins > MOST_PINS) {
            throw new IllegalArgumentException("an IOAPIC of " + pins + " pins: expected 1 to " + MOST_PINS);
        }
        this.vm = vm;
        this.entries = new long[pins];
        this.drivers = new int[pins];
        this.ended = IntStream.range(0, pins)
                .<List<Runnable>>mapToObj(pin -> new ArrayList<>())
                .toList();
        reset();
    }

    private int pins() {
        return entries.length;
    }

    private int requirePin(Gsi gsi) {
        if (gsi.number() >= pins()) {
            throw new IllegalArgumentException(gsi + " is no pin of this IOAPIC, which has 0 to " + (pins() - 1));
        }
        return gsi.number();
    }

    private boolean is(BitField flag, int pin) {
        return flag.isSet(entries[pin]);
    }

    // Registers

    /**
     * The guest reads.
     *
     * @param at the offset from {@link #ADDRESS}
     * @param size in bytes; the low ones of a register. A register that is not there is 0
     */
    public synchronized int read(long at, int size) {
        int value = at == SELECT ? selected : at == WINDOW ? register() : 0;
        return size >= Integer.BYTES ? value : value & (1 << size * Byte.SIZE) - 1;
    }

    private int register() {
        return switch (selected) {
            case ID, ARBITRATION -> id;
            case VERSION -> pins() - 1 << Short.SIZE | VERSION_NUMBER;
            default -> {
                int pin = selected - ENTRIES >> 1;
                long entry = selected >= ENTRIES && pin < pins() ? entries[pin] : -1;
                yield (int) ((selected & 1) == 0 ? entry : entry >>> Integer.SIZE);
            }
        };
    }

    /**
     * The guest writes.
     *
     * @param at the offset from {@link #ADDRESS}
     * @param size in bytes; bytes of a register that are not written become 0
     * @throws io.kvmirq.KernelException if KVM refuses the route of a level-triggered pin; the register is written
     */
    public void write(long at, int size, int value) {
        int written = size >= Integer.BYTES ? value : value & (1 << size * Byte.SIZE) - 1;
        if (at == EOI) {
            endOfInterrupt(new InterruptVector(written & BYTE));
        } else if (at == SELECT) {
            synchronized (this) {
                selected = written & BYTE;
            }
        } else if (at == WINDOW) {
            writeRegister(written);
        }
    }

    private void writeRegister(int value) {
        int unmasked;
        synchronized (this) {
            if (selected == ID) {
                id = value & ID_BITS;
            }
            int pin = selected - ENTRIES >> 1;
            if (selected < ENTRIES || pin >= pins()) {
                return;
            }
            unmasked = writeEntry(pin, value) ? pin : -1;
        }
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

    /**
     * Writes half of an entry. A guest that serves a device under a mask of its pin may have ended the interrupt long
     * before: then the line may be high only because nobody was asked since.
     *
     * @return whether the pin is unmasked and those that drive it high have to be asked first
     */
    private boolean writeEntry(int pin, int value) {
        long before = entries[pin];
        long now = (selected & 1) == 0 ? before & ~LOW | value & LOW : before & LOW | (long) value << Integer.SIZE;
        now = now & ~READ_ONLY | before & READ_ONLY;
        if (!IoapicEntry.LEVEL.isSet(now)) {
            now &= ~IoapicEntry.REMOTE_IRR.mask(); // as Linux ends an interrupt of an IOAPIC without EOI register
        }
        entries[pin] = now;
        boolean unmasks = (before & ~now & IoapicEntry.MASKED.mask()) != 0;
        if (unmasks && isDue(pin) && !ended.get(pin).isEmpty()) {
            return true;
        }
        serviceLevel(pin);
        return false;
    }

    /** A pin's redirection entry, 64 bits: {@link IoapicEntry}. */
    public synchronized long entry(int pin) {
        return entries[pin];
    }

    /** Whether a pin's line is high. */
    public synchronized boolean isHigh(int pin) {
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

    /**
     * Drives a line of this object's own source.
     *
     * @throws IllegalArgumentException if the GSI is no pin
     */
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
        if (is(IoapicEntry.LEVEL, pin)) {
            serviceLevel(pin);
        } else if (isHigh && drivers[pin] == 1) {
            service(pin);
        }
    }

    // Delivery

    private boolean isDue(int pin) {
        return is(IoapicEntry.LEVEL, pin) && !is(IoapicEntry.REMOTE_IRR, pin) && drivers[pin] > 0;
    }

    private void serviceLevel(int pin) {
        if (isDue(pin)) {
            service(pin);
        }
    }

    /** KVM remembers an interrupt for a LAPIC that does not exist, too: none but a rewrite as edge ends it. */
    private void service(int pin) {
        if (is(IoapicEntry.MASKED, pin)) {
            return;
        }
        MsiMessage message = message(entries[pin]);
        if (!is(IoapicEntry.LEVEL, pin)) {
            vm.signal(message);
            return;
        }
        Gsi gsi = new Gsi(pin);
        if (!vm.routes().of(gsi).equals(List.of(new Route.Msi(gsi, message)))) {
            vm.routes().replace(gsi, message);
        }
        if (!(vm.signal(message) instanceof MsiOutcome.NotAccepted)) {
            entries[pin] |= IoapicEntry.REMOTE_IRR.mask();
        }
    }

    private static MsiMessage message(long entry) {
        boolean level = IoapicEntry.LEVEL.isSet(entry);
        long address = MESSAGE_ADDRESS
                | IoapicEntry.DESTINATION.of(entry) << DESTINATION_SHIFT
                | (IoapicEntry.LOGICAL.isSet(entry) ? LOGICAL : 0);
        int data = (int) (IoapicEntry.VECTOR.of(entry) | IoapicEntry.MODE.of(entry) << MODE_SHIFT);
        return new MsiMessage(address, level ? data | LEVEL_DATA : data);
    }

    // The end of an interrupt

    /**
     * Runs a step whenever a level-triggered interrupt of a pin ends, before its line is looked at: {@link
     * io.kvmirq.forward.ForwardedIrq#endOfInterrupt}, which lowers the line and unmasks the device. It also runs when
     * the guest unmasks the pin of a high line.
     *
     * @param step called with no lock held, in the thread of the access or the EOI. What it throws reaches that, when all
     *     is done
     */
    public synchronized void addEndListener(Gsi pin, Runnable step) {
        ended.get(requirePin(pin)).add(step);
    }

    /** Ends {@link #addEndListener}. */
    public synchronized void removeEndListener(Gsi pin, Runnable step) {
        ended.get(requirePin(pin)).remove(step);
    }

    /**
     * A LAPIC ended the interrupt of this vector: KVM_EXIT_IOAPIC_EOI. A level-triggered pin whose line is still high
     * sends it again.
     */
    public void endOfInterrupt(InterruptVector vector) {
        IntPredicate of = pin -> is(IoapicEntry.LEVEL, pin) && IoapicEntry.VECTOR.of(entries[pin]) == vector.number();
        try {
            tellEnded(of);
        } finally {
            synchronized (this) {
                for (int pin = 0; pin < pins(); pin++) {
                    if (of.test(pin)) {
                        entries[pin] &= ~IoapicEntry.REMOTE_IRR.mask();
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
        selected = 0;
        id = 0;
        for (int pin = 0; pin < pins(); pin++) {
            entries[pin] = IoapicEntry.MASKED.mask();
        }
    }
}
