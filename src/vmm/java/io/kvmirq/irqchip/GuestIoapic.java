/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.irqchip;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.NotPromised;
import io.kvmirq.Route;
import io.kvmirq.arch.apic.IoapicEntry;
import io.kvmirq.forward.Userspace;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vmm.StepRunner;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Objects;
import java.util.function.Predicate;
import java.util.stream.Stream;

/**
 * The IOAPIC of a guest with a split irqchip. GSI n drives pin n. The VMM passes guest accesses to {@link #ADDRESS} to
 * {@link #read} and {@link #write}, and calls {@link #endOfInterrupt} on KVM_EXIT_IOAPIC_EOI. Thread-safe.
 *
 * <p>An edge-triggered pin interrupts when its line becomes high, but an edge on a masked pin is lost. A
 * level-triggered pin interrupts while its line is high, unless the pin is masked or awaits an EOI (Remote IRR). This
 * class sends a pin's MSI to the LAPICs with KVM_SIGNAL_MSI. Because KVM reports a vector's EOI only if a GSI route has
 * this vector, this class routes a level-triggered pin's GSI to the pin's MSI before the pin first sends it. If no
 * LAPIC accepts an MSI, the pin sends it again only after its line or its entry changes, so enable the LAPICs first.
 * The polarity bit is stored but has no effect: a high line is always asserted. Destination APIC ids have 8 bits.
 *
 * <p>Several devices may share a pin, which is high while any of their lines is high. Create a {@link #source} for each
 * forwarding and each emulated device. All calls of {@link #line} share one further source. VFIO masks a device's
 * forwarded line at each interrupt. The guest's EOI lowers the line before the pin is read, and unmasks the device,
 * which interrupts again if it still asserts its line. The same happens when the guest writes the entry of an unmasked
 * pin that awaits no EOI. Because an edge-triggered pin has no EOI, each signal of the device becomes one edge.
 *
 * <p>One lock guards registers and lines. It is held during kernel calls, but not in end listeners or device unmasks.
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

    /** For each pin, the lines that are high until the guest's EOI. */
    private final List<List<Raised>> raised;

    private final List<List<Runnable>> ended;
    private final Source ours = new Source();

    /** @param ended runs when the line is low, without a lock */
    private record Raised(Source source, Runnable ended) {}

    /** The lines of one device, or of all a forwarding's interrupts. */
    private final class Source implements Userspace.Injector {
        /** Excludes lines that are high until the guest's EOI. */
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

        @Override
        public boolean raiseUntilEoi(Gsi gsi, Runnable step) {
            raise(new Raised(this, Objects.requireNonNull(step, "ended is null")), requirePin(gsi));
            return true;
        }

        @Override
        public void requireOf(Vm other, List<Gsi> lines) {
            Objects.requireNonNull(lines, "lines is null");
            if (Objects.requireNonNull(other, "other is null") != vm) {
                throw new IllegalArgumentException("a line of the GuestIoapic of " + vm + " cannot interrupt " + other
                        + ": pass this VM's IOAPIC, or a source of it");
            }
            lines.forEach(GuestIoapic.this::requirePin);
        }
    }

    /**
     * Creates an IOAPIC in its reset state, with all pins masked.
     *
     * @param vm a VM with a split irqchip of the same number of pins ({@link io.kvmirq.kvm.X86Vm#createSplitIrqchip})
     * @param pins the number of pins, 1 to 120, usually 24
     * @throws IllegalArgumentException if {@code pins} is out of range or differs from the pins of createSplitIrqchip,
     *     or if the VM has the full irqchip or another IOAPIC
     * @throws UnsupportedOperationException on arm64
     */
    public GuestIoapic(Vm vm, int pins) {
        Objects.requireNonNull(vm, "vm is null");
        if (pins < 1 || pins > MOST_PINS) {
            throw new IllegalArgumentException("an IOAPIC of " + pins + " pins: expected 1 to " + MOST_PINS);
        }
        if (hasIoapic(vm)) {
            throw new IllegalArgumentException(vm + " has an in-kernel IOAPIC, which handles its GSIs and accesses:"
                    + " create the VM with createSplitIrqchip, or leave GuestIoapic out");
        }
        vm.x86().claimIoapic(pins);
        this.vm = vm;
        this.registers = new IoapicRegisters(pins);
        this.drivers = new int[pins];
        this.raised = lists(pins);
        this.ended = lists(pins);
    }

    private static <T> List<List<T>> lists(int pins) {
        return Stream.<List<T>>generate(ArrayList::new).limit(pins).toList();
    }

    /** Whether KVM has an IOAPIC. If not, KVM refuses to read its state. */
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
                    "pin " + pin + " is not a pin of this IOAPIC, which has 0 to " + (pins() - 1));
        }
    }

    private int requirePin(Gsi gsi) {
        if (Objects.requireNonNull(gsi, "gsi is null").number() >= pins()) {
            throw new IllegalArgumentException(gsi + " is not a pin of this IOAPIC, which has 0 to " + (pins() - 1));
        }
        return gsi.number();
    }

    /** The low bytes of a register. */
    private static int low(int size, int value) {
        return size >= Integer.BYTES ? value : value & (1 << size * Byte.SIZE) - 1;
    }

    // Registers

    /**
     * Handles the guest's read of the register at an offset from {@link #ADDRESS}. Returns the {@code size} low bytes
     * of the register, or 0 if no register is at the offset.
     */
    public synchronized int read(long at, int size) {
        return low(size, registers.read(at));
    }

    /**
     * Handles the guest's write of a register.
     *
     * @param at the register's offset from {@link #ADDRESS}, in bytes
     * @param size the number of low bytes that the guest writes; the register's other bytes become 0
     * @throws io.kvmirq.KernelException if KVM refuses a level-triggered pin's route. The register keeps the new value
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
            List<Runnable> steps = new ArrayList<>();
            try {
                writeRegister(written, steps);
            } finally {
                StepRunner.runAll(steps);
            }
        }
    }

    /**
     * Writes the selected register. If the guest served a device while the pin was masked, the line may be high only
     * because its source was not sampled since. This lowers lines that await an EOI that will not come.
     *
     * @param steps to run without the lock. Lines that are still high afterwards interrupt
     */
    private synchronized void writeRegister(int value, List<Runnable> steps) {
        int pin = registers.selectedPin();
        boolean masked = pin >= 0 && registers.is(IoapicEntry.MASKED, pin);
        registers.write(value);
        if (pin < 0 || registers.is(IoapicEntry.MASKED, pin) || registers.is(IoapicEntry.REMOTE_IRR, pin)) {
            return;
        }
        lower(pin, each -> true, steps);
        if (masked && isDue(pin)) {
            steps.addAll(ended.get(pin));
        }
        if (steps.isEmpty()) {
            serviceLevel(pin);
        } else {
            steps.add(() -> settle(pin));
        }
    }

    /** Returns a pin's 64-bit redirection entry, whose fields {@link IoapicEntry} describes. */
    public synchronized long entry(int pin) {
        requirePin(pin);
        return registers.entry(pin);
    }

    /** Returns whether any source drives a pin's line high. */
    public synchronized boolean isHigh(int pin) {
        requirePin(pin);
        return isDriven(pin);
    }

    private boolean isDriven(int pin) {
        return drivers[pin] > 0 || !raised.get(pin).isEmpty();
    }

    // Lines

    /** Creates a source that drives lines of this IOAPIC. A line is high while at least one source drives it high. */
    public Userspace.Injector source() {
        return new Source();
    }

    /**
     * Returns the pins whose lines this source drives high.
     *
     * @throws IllegalArgumentException if the source does not come from {@link #source} of this object
     */
    public synchronized List<Gsi> driven(Userspace.Injector source) {
        if (!(source instanceof Source ofLines) || !ofLines.isOf(this)) {
            throw new IllegalArgumentException(
                    source + " drives no lines of this IOAPIC: pass the object that its source() returned");
        }
        return ofLines.high.stream().mapToObj(Gsi::new).toList();
    }

    /** Delivers a device's MSI to the LAPICs, bypassing the IOAPIC. */
    @Override
    public void message(MsiMessage message) {
        ours.message(message);
    }

    /** Drives a pin's line, as a {@link #source} of its own. Throws IllegalArgumentException for a missing pin. */
    @Override
    public void line(Gsi gsi, boolean high) {
        ours.line(gsi, high);
    }

    /** Raises a pin's line until the guest's EOI, as the source of {@link #line}. Throws like {@link #line}. */
    @Override
    public boolean raiseUntilEoi(Gsi gsi, Runnable step) {
        return ours.raiseUntilEoi(gsi, step);
    }

    @Override
    @NotPromised
    public void requireOf(Vm other, List<Gsi> lines) {
        ours.requireOf(other, lines);
    }

    private void drive(Source source, int pin, boolean isHigh) {
        List<Runnable> steps = new ArrayList<>(0);
        try {
            drive(source, pin, isHigh, steps);
        } finally {
            StepRunner.runAll(steps);
        }
    }

    private synchronized void drive(Source source, int pin, boolean isHigh, List<Runnable> steps) {
        boolean wasHigh = isDriven(pin);
        if (!isHigh) {
            lower(pin, line -> line.source == source, steps);
        }
        boolean changes = source.high.get(pin) != isHigh;
        if (changes) {
            source.high.set(pin, isHigh);
            drivers[pin] += isHigh ? 1 : -1;
        }
        if (changes || isHigh || !steps.isEmpty()) {
            driven(pin, wasHigh);
        }
    }

    /** An edge-triggered pin has no EOI, so each signal of the device becomes one edge. */
    private void raise(Raised line, int pin) {
        List<Runnable> steps = new ArrayList<>(0);
        synchronized (this) {
            boolean wasHigh = isDriven(pin);
            raised.get(pin).add(line);
            driven(pin, wasHigh);
            if (!registers.is(IoapicEntry.LEVEL, pin) && !registers.is(IoapicEntry.MASKED, pin)) {
                lower(pin, each -> true, steps);
            }
        }
        StepRunner.runAll(steps);
    }

    /** Lowers lines that were high until the guest's EOI. */
    private void lower(int pin, Predicate<Raised> which, List<Runnable> steps) {
        raised.get(pin).removeIf(line -> which.test(line) && steps.add(line.ended));
    }

    // Delivery

    /** Handles a change of a pin's lines. */
    private void driven(int pin, boolean wasHigh) {
        if (registers.is(IoapicEntry.LEVEL, pin)) {
            serviceLevel(pin);
        } else if (!wasHigh && isDriven(pin)) {
            service(pin);
        }
    }

    private boolean isDue(int pin) {
        return registers.is(IoapicEntry.LEVEL, pin) && !registers.is(IoapicEntry.REMOTE_IRR, pin) && isDriven(pin);
    }

    private synchronized void settle(int pin) {
        serviceLevel(pin);
    }

    private void serviceLevel(int pin) {
        if (isDue(pin)) {
            service(pin);
        }
    }

    /** As in KVM, a pin awaits an EOI even if no LAPIC matched. Only a rewrite as edge-triggered ends this. */
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
     * Adds a step that runs at each EOI of a level-triggered pin, before this class samples the line again, and when
     * the guest unmasks a high pin. A forwarded line needs a step only if its injector does not pass on {@link
     * #raiseUntilEoi}. Then add {@link io.kvmirq.forward.ForwardedIrq#endOfInterrupt}.
     *
     * @param step called without a lock, in the thread that handles the EOI or the unmasking write. If the step throws,
     *     the thread first completes the EOI or write, and then gets the exception
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
     * Handles KVM_EXIT_IOAPIC_EOI, which reports the guest's EOI for this vector. A level-triggered pin with this
     * vector whose line is still high sends its MSI again.
     */
    public void endOfInterrupt(InterruptVector vector) {
        int number = Objects.requireNonNull(vector, "vector is null").number();
        List<Runnable> steps = new ArrayList<>();
        List<Runnable> last = new ArrayList<>();
        synchronized (this) {
            for (int i = 0; i < pins(); i++) {
                int pin = i;
                if (registers.isLevelOf(pin, number)) {
                    lower(pin, each -> true, steps);
                    if (ended.get(pin).isEmpty()) {
                        registers.endEoi(pin); // at once: what another vCPU writes meanwhile is not a part of this EOI
                        last.add(() -> settle(pin));
                    } else {
                        steps.addAll(ended.get(pin));
                        last.add(() -> endEoi(pin, number));
                    }
                }
            }
        }
        steps.addAll(last);
        StepRunner.runAll(steps);
    }

    private synchronized void endEoi(int pin, int vector) {
        if (registers.isLevelOf(pin, vector)) {
            registers.endEoi(pin);
            serviceLevel(pin);
        }
    }

    /** Resets the IOAPIC at a guest reset: all pins are masked, and none awaits an EOI. Lines keep their levels. */
    public synchronized void reset() {
        registers.reset();
    }

    // Save and restore

    private int stateBytes() {
        return registers.stateBytes() + (pins() + Byte.SIZE - 1) / Byte.SIZE;
    }

    /**
     * Returns the registers, and the lines that {@link #line} drives, for {@link #restore}. After a restore, each
     * {@link #source} must drive its lines again. An emulated device's source must do so before the guest runs, a
     * forwarding's source when the device asserts its line.
     */
    public synchronized byte[] state() {
        ByteBuffer state = ByteBuffer.allocate(stateBytes()).order(ByteOrder.LITTLE_ENDIAN);
        registers.save(state);
        state.put(ours.high.toByteArray());
        return state.array();
    }

    /**
     * Restores a state that {@link #state} returned. No pin sends its MSI before {@link #settle}. The state has no GSI
     * routes, because a snapshot saves them with the VM.
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

    /** Sends the MSI of each level-triggered pin whose line is high, unless the pin is masked or awaits an EOI. */
    public synchronized void settle() {
        for (int pin = 0; pin < pins(); pin++) {
            serviceLevel(pin);
        }
    }
}
