/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.arch.apic.IoapicEntry;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.intx.model.PinSources;
import io.kvmirq.explain.ChipAnswer;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;

/** The in-kernel IOAPIC; source: arch/x86/kvm/ioapic.c, 82093AA datasheet. */
final class FakeIoapic {
    static final int PINS = 24;

    /** The length of the register window, in bytes. */
    private static final int WINDOW = 0x100;
    /** The offset of the register selector in the window and the state, and of the selected register's value. */
    private static final int SELECTOR = 0;

    private static final int SELECTOR_AT = 8;
    private static final int VALUE = 0x10;
    private static final int ID_AT = 12;
    private static final int ID = 0xf << 24;
    /** IOAPIC_VERSION_ID and the last pin. */
    private static final int VERSION = PINS - 1 << 16 | 0x11;

    private static final int ENTRIES = 0x10;
    /** The fields that a guest cannot write: delivery status and remote IRR. */
    private static final long READ_ONLY = 1 << 12 | IoapicEntry.REMOTE_IRR.mask();

    /** Base address, register selector and id. */
    private static final int HEADER = 16;
    /** The padding, which is also saved and restored. */
    private static final int PADDING = Uapi.KvmIoapicState.IRR + Integer.BYTES;
    /** The pin of the real-time clock. The IOAPIC tracks the EOIs of its ticks. */
    private static final int CLOCK = 8;
    /** IOAPIC_SUCCESSIVE_IRQ_MAX_COUNT. */
    private static final int STORM_EOIS = 10_000;

    private static final Duration STORM_DELAY = Duration.ofMillis(10);

    private final X86Vm vm;
    private final long[] redirections = new long[PINS];
    /** The message of each redirection entry. */
    private final ApicMessage[] interrupts = new ApicMessage[PINS];

    private final PinSources sources = new PinSources(PINS);
    private final ByteBuffer header = ByteBuffer.allocate(HEADER).order(ByteOrder.nativeOrder());
    private int padding;
    private int irr;
    /** A bit for each pin whose edge was delivered. KVM_GET_IRQCHIP hides its IRR bit. */
    private int delivered;

    /** For each pin, the number of successive EOIs at which it was high ({@code irq_eoi}). */
    private final int[] ends = new int[PINS];
    /** Whether a delayed interrupt waits for the timer ({@code eoi_inject}). */
    private boolean delays;

    /** The LAPICs that have not sent the EOI of the last clock tick, with its vector. */
    private final Map<FakeLapic, Integer> clockTakers = new HashMap<>();

    private int clockPending;

    FakeIoapic(X86Vm vm) {
        this.vm = vm;
        for (int pin = 0; pin < PINS; pin++) {
            redirect(pin, IoapicEntry.MASKED.mask());
        }
        header.putLong(0, IoapicEntry.REGISTERS);
    }

    private void redirect(int pin, long entry) {
        redirections[pin] = entry;
        interrupts[pin] = ApicMessage.ofPin(entry);
    }

    /** @return the kernel's result: 1 or the number of LAPICs that accepted it, 0 coalesced, -1 masked */
    int set(int pin, int source, boolean level, boolean wanted) {
        // Levels mean active or inactive, so the polarity bit is ignored.
        return drive(pin, sources.set(pin, source, level), wanted);
    }

    private int drive(int pin, boolean high, boolean wanted) {
        int bit = 1 << pin;
        if (!high) {
            irr &= ~bit;
            return 1;
        }
        if (!IoapicEntry.LEVEL.isSet(redirections[pin])
                && vm.posting().filter(IrqPosting::isActivated).isPresent()) {
            endClockTick(interrupts[pin]);
        }
        if (pin == CLOCK && wanted && clockPending > 0) {
            vm.note(ChipAnswer.IOAPIC_CLOCK);
            return 0;
        }
        boolean before = (irr & bit) != 0;
        irr |= bit;
        if (!IoapicEntry.LEVEL.isSet(redirections[pin])) {
            delivered &= ~bit;
            if (before) {
                vm.note(ChipAnswer.IOAPIC_EDGE);
                return 0;
            }
        }
        return service(pin, wanted);
    }

    /**
     * Hardware may take the EOI of an edge, so a tick has ended if its vector is in neither IRR nor ISR of the LAPIC's page; one
     * in PIR counts as ended, too. KVM looks at the first such LAPIC alone. Source: {@code ioapic_lazy_update_eoi()}.
     */
    private void endClockTick(ApicMessage interrupt) {
        vm.lapics()
                .firstWithout(interrupt)
                .filter(lapic -> clockTakers.remove(lapic, interrupt.vector()))
                .ifPresent(lapic -> clockPending--);
    }

    private int service(int pin, boolean wanted) {
        long entry = redirections[pin];
        boolean level = IoapicEntry.LEVEL.isSet(entry);
        if (IoapicEntry.MASKED.isSet(entry) || level && IoapicEntry.REMOTE_IRR.isSet(entry)) {
            vm.note(ChipAnswer.IOAPIC_MASKED);
            return -1;
        }
        if (!level) {
            delivered |= 1 << pin;
        }
        int taken;
        if (pin == CLOCK && wanted) {
            int vector = interrupts[pin].vector();
            taken = vm.lapics().deliver(interrupts[pin], lapic -> clockTakers.put(lapic, vector));
            clockPending = Math.max(taken, 0);
        } else {
            taken = vm.lapics().deliver(interrupts[pin]);
        }
        if (taken != 0 && level) {
            vm.note(ChipAnswer.IOAPIC_LEVEL);
            redirections[pin] |= IoapicEntry.REMOTE_IRR.mask();
        }
        return taken;
    }

    /** Recomputes whether a LAPIC has the clock's tick pending, after KVM_SET_LAPIC or KVM_SET_IRQCHIP. */
    void recount(FakeLapic lapic) {
        ApicMessage tick = interrupts[CLOCK];
        if (!vm.lapics().isFor(tick, lapic)) {
            return;
        }
        boolean pending = lapic.isPending(tick.vector());
        if (pending && clockTakers.putIfAbsent(lapic, tick.vector()) == null) {
            clockPending++;
        } else if (!pending && clockTakers.remove(lapic) != null) {
            clockPending--;
        }
    }

    /** Adds to a LAPIC's EOI exit bitmap the vectors whose EOI the IOAPIC needs. */
    void scan(FakeLapic lapic) {
        Integer tick = clockTakers.get(lapic);
        if (tick != null) {
            lapic.eoiExitBitmap().add(tick);
        }
        for (int pin = 0; pin < PINS; pin++) {
            if (IoapicEntry.LEVEL.isSet(redirections[pin]) || pin == CLOCK || vm.isResampled(X86Vm.IOAPIC, pin)) {
                int vector = interrupts[pin].vector();
                lapic.eoiExitBitmap().add(vector, vm.lapics().isFor(interrupts[pin], lapic), lapic.isPending(vector));
            }
        }
    }

    /** Handles a forwarded EOI. The clock's tick is pending until all LAPICs that accepted it have sent EOI. */
    void endOfInterrupt(FakeLapic lapic, int vector, boolean level) {
        if (clockTakers.remove(lapic, vector)) {
            clockPending--;
        }
        for (int pin = 0; pin < PINS; pin++) {
            if (interrupts[pin].vector() != vector) {
                continue;
            }
            vm.acknowledged(pin);
            if (!level) {
                continue;
            }
            redirections[pin] &= ~IoapicEntry.REMOTE_IRR.mask();
            if (!IoapicEntry.MASKED.isSet(redirections[pin]) && (irr >>> pin & 1) == 1) {
                serviceAgain(pin);
            } else {
                ends[pin] = 0;
            }
        }
    }

    /** Handles a pin that is high at its EOI. Delays it after many such EOIs, so that the guest makes progress. */
    private void serviceAgain(int pin) {
        ends[pin]++;
        if (ends[pin] < STORM_EOIS) {
            service(pin, false);
            return;
        }
        vm.note(ChipAnswer.IOAPIC_STORM);
        ends[pin] = 0;
        if (!delays) {
            delays = true;
            vm.host().time().after(STORM_DELAY, this::serviceLevels);
        }
    }

    /** {@code kvm_ioapic_eoi_inject_work}. */
    private void serviceLevels() {
        delays = false;
        for (int pin = 0; pin < PINS; pin++) {
            boolean waits = IoapicEntry.LEVEL.isSet(redirections[pin])
                    && !IoapicEntry.REMOTE_IRR.isSet(redirections[pin])
                    && (irr >>> pin & 1) == 1;
            if (waits) {
                service(pin, false);
            }
        }
    }

    // Registers of the guest

    /** Whether a guest's access is to the registers: at their default address, unless KVM_SET_IRQCHIP moved them. */
    boolean covers(long address) {
        return (address & -WINDOW) == IoapicEntry.REGISTERS
                && Long.compareUnsigned(address - header.getLong(0), WINDOW) < 0;
    }

    /** The 32 bits of a register: {@code ioapic_mmio_read()}. */
    long read(long address) {
        int selected = header.getInt(SELECTOR_AT);
        int pin = selected - ENTRIES >> 1;
        return 0xffff_ffffL
                & switch ((int) address & WINDOW - 1) {
                    case SELECTOR -> selected;
                    case VALUE ->
                        switch (selected) {
                            case 0, 2 -> header.getInt(ID_AT) << 24 & ID;
                            case 1 -> VERSION;
                            default ->
                                pin >= 0 && pin < PINS ? redirections[pin] >>> (selected & 1) * Integer.SIZE : -1;
                        };
                    default -> 0;
                };
    }

    /** {@code ioapic_mmio_write()}. */
    void write(long address, long value) {
        vm.note(ChipAnswer.IOAPIC_REGISTERS);
        int at = (int) address & WINDOW - 1;
        if (at == SELECTOR) {
            header.putInt(SELECTOR_AT, (int) value & 0xff);
        } else if (at == VALUE) {
            writeSelected(header.getInt(SELECTOR_AT), (int) value);
        }
    }

    private void writeSelected(int selected, int value) {
        int pin = selected - ENTRIES >> 1;
        if (selected == 0) {
            header.putInt(ID_AT, value >>> 24 & 0xf);
        } else if (pin >= 0 && pin < PINS) {
            int low = (selected & 1) * Integer.SIZE;
            long half = 0xffff_ffffL << low;
            long before = redirections[pin];
            long next = before & (~half | READ_ONLY) | (long) value << low & half & ~READ_ONLY;
            program(pin, IoapicEntry.LEVEL.isSet(next) ? next : next & ~IoapicEntry.REMOTE_IRR.mask());
        }
    }

    /** The end of {@code ioapic_write_indirect()}. The kernel makes only the vCPUs scan that the entry addresses. */
    private void program(int pin, long next) {
        redirect(pin, next);
        boolean masked = IoapicEntry.MASKED.isSet(next);
        boolean pending = (irr >>> pin & 1) == 1 && !masked && !IoapicEntry.REMOTE_IRR.isSet(next);
        if (pending && IoapicEntry.LEVEL.isSet(next)) {
            if (vm.resamplesAtUnmask(pin)) {
                irr &= ~(1 << pin);
            } else {
                service(pin, false);
            }
        }
        vm.lapics().wantScan();
    }

    void save(ByteBuffer to, int at) {
        to.put(at, header, 0, HEADER).putInt(at + Uapi.KvmIoapicState.IRR, irr & ~delivered);
        to.putInt(at + PADDING, padding);
        for (int pin = 0; pin < PINS; pin++) {
            to.putLong(at + Uapi.KvmIoapicState.REDIRTBL + pin * Long.BYTES, redirections[pin]);
        }
    }

    void restore(ByteBuffer from, int at) {
        header.put(0, from, at, HEADER);
        padding = from.getInt(at + PADDING);
        for (int pin = 0; pin < PINS; pin++) {
            redirect(pin, from.getLong(at + Uapi.KvmIoapicState.REDIRTBL + pin * Long.BYTES));
        }
        vm.lapics().wantScan();
        int pending = from.getInt(at + Uapi.KvmIoapicState.IRR);
        irr = 0;
        delivered = 0;
        clockTakers.clear();
        clockPending = 0;
        for (int pin = 0; pin < PINS; pin++) {
            if ((pending >>> pin & 1) == 1) {
                drive(pin, true, true);
            }
        }
        clockTakers.clear();
        clockPending = 0;
        vm.lapics().forEach(this::recount);
    }
}
