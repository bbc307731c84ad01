/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** The interrupt side of a VM: chips, routes and what is registered; source: virt/kvm/irqchip.c, arch/x86/kvm/irq.c. */
final class FakeVm {
    static final int SOURCE_USERSPACE = 0;
    static final int SOURCE_RESAMPLE = 1;

    private static final int MASTER = 0;
    private static final int SLAVE = 1;
    private static final int IOAPIC = 2;
    private static final int BROADCAST = 0xff;

    /** Which interrupt controllers are in the kernel. */
    enum Irqchip {
        NONE,
        SPLIT,
        FULL
    }

    /** Where a GSI goes: to a pin of a chip, or as a message. */
    record Target(boolean message, int chip, int pin, long address, int data) {}

    private final FakePic[] pics = {new FakePic(0xf8), new FakePic(0xde)};
    private final FakeIoapic ioapic = new FakeIoapic(this);
    private final Map<Integer, FakeLapic> lapics = new LinkedHashMap<>();
    private final List<FakeIrqfd> irqfds = new ArrayList<>();
    private final List<FakeIoEventFd> ioEventFds = new ArrayList<>();
    private Map<Integer, List<Target>> routes = new HashMap<>();
    /** By IOAPIC pin: the GSI whose end of interrupt it is; -1 for none. */
    private final int[] gsiOfPin = new int[FakeIoapic.PINS];

    /** The LAPIC of each id as it was when the kernel last looked, where ids are unique. */
    private @Nullable FakeLapic[] map = {};

    private boolean mapped;
    private Irqchip irqchip = Irqchip.NONE;
    private boolean longApicIds;
    private boolean closed;

    FakeVm() {
        Arrays.fill(gsiOfPin, -1);
    }

    Irqchip irqchip() {
        return irqchip;
    }

    void createIrqchip(Irqchip kind) {
        irqchip = kind;
        if (kind == Irqchip.FULL) {
            Map<Integer, List<Target>> defaults = new HashMap<>();
            for (int gsi = 0; gsi < FakeIoapic.PINS; gsi++) {
                List<Target> targets = new ArrayList<>(List.of(new Target(false, IOAPIC, gsi, 0, 0)));
                if (gsi < 2 * FakePic.PINS) {
                    targets.add(new Target(false, gsi / FakePic.PINS, gsi % FakePic.PINS, 0, 0));
                }
                defaults.put(gsi, targets);
            }
            setRoutes(defaults);
        }
    }

    boolean longApicIds() {
        return longApicIds;
    }

    void useLongApicIds() {
        longApicIds = true;
    }

    void setRoutes(Map<Integer, List<Target>> next) {
        routes = next;
        Arrays.fill(gsiOfPin, -1);
        next.forEach((gsi, targets) -> targets.stream()
                .filter(target -> !target.message() && target.chip() == IOAPIC)
                .forEach(target -> gsiOfPin[target.pin()] = gsi));
    }

    // Chips by their KVM number

    FakePic pic(int chip) {
        return pics[chip];
    }

    /** The slave's request reaches the master. */
    void cascade() {
        pics[MASTER].cascade(pics[SLAVE]);
    }

    FakeIoapic ioapic() {
        return ioapic;
    }

    /** A new vCPU is not on the map until that is drawn again. */
    FakeLapic addLapic(int vcpuId) {
        redrawMap();
        FakeLapic lapic = new FakeLapic(this, vcpuId);
        lapics.put(vcpuId, lapic);
        return lapic;
    }

    // Interrupts

    /** @return the sum over the routes that listened, -1 when none did */
    int setIrq(int gsi, int source, boolean level) {
        return setIrq(gsi, source, level, false);
    }

    /** @param wanted whether the caller wants to know what came of it */
    int setIrq(int gsi, int source, boolean level, boolean wanted) {
        int sum = -1;
        List<Target> targets = routes.get(gsi);
        if (targets == null || closed) {
            return sum;
        }
        for (int i = 0; i < targets.size(); i++) {
            int result = drive(targets.get(i), source, level, wanted);
            if (result >= 0) {
                sum = result + Math.max(sum, 0);
            }
        }
        return sum;
    }

    private int drive(Target target, int source, boolean level, boolean wanted) {
        if (target.message()) {
            // A route from before the longer ids may have what is no id of theirs.
            boolean invalid = longApicIds && (target.address() >>> 32 & 0xff) != 0;
            return level && !invalid ? signal(target.address(), target.data()) : -1;
        }
        return switch (target.chip()) {
            case MASTER, SLAVE -> {
                int result = pics[target.chip()].set(target.pin(), source, level);
                cascade();
                yield result;
            }
            default -> ioapic.set(target.pin(), source, level, wanted);
        };
    }

    /** A message; -1 when no destination matched. */
    int signal(long address, int data) {
        int destination = (int) (address >>> 12) & 0xff;
        if (longApicIds) {
            destination |= (int) (address >>> 32) & ~0xff;
        }
        boolean logical = (address >>> 2 & 1) == 1;
        boolean toOne = (address >>> 3 & 1) == 1;
        return deliver(
                new Interrupt(destination, logical, toOne, data >>> 8 & 7, data & 0xff, (data >>> 15 & 1) == 1),
                lapic -> {});
    }

    /**
     * An interrupt on its way to the LAPICs.
     *
     * @param toOne to one of those it is for, whatever the mode
     */
    record Interrupt(int destination, boolean logical, boolean toOne, int mode, int vector, boolean level) {
        boolean isFor(FakeLapic lapic) {
            return destination == BROADCAST || lapic.isPhysical(destination);
        }

        /** Whether one of several takes it. */
        boolean byPriority() {
            return toOne || mode == FakeLapic.LOWEST_PRIORITY && destination != BROADCAST;
        }

        /** As priority has no meaning among everybody, the kernel makes the interrupt a fixed one. */
        int effectiveMode() {
            boolean odd = destination == BROADCAST && (toOne || mode == FakeLapic.LOWEST_PRIORITY);
            return odd ? FakeLapic.FIXED : mode;
        }
    }

    /**
     * Looks up the one with that id in the kernel's map where there is one, else asks every LAPIC.
     *
     * @param taker told of each that took it
     * @return how many LAPICs took it; -1 when all were asked and it was for none
     */
    int deliver(Interrupt interrupt, Consumer<FakeLapic> taker) {
        if (interrupt.logical()) {
            throw new NotModelledException("logical destinations");
        }
        if (mapped && interrupt.destination() != BROADCAST) {
            FakeLapic lapic = interrupt.destination() < map.length ? map[interrupt.destination()] : null;
            return lapic != null && lapic.accept(interrupt, taker) ? 1 : 0;
        }
        if (interrupt.byPriority()) {
            return deliverToOne(interrupt, taker);
        }
        int taken = -1;
        for (FakeLapic lapic : lapics.values()) {
            if (interrupt.isFor(lapic)) {
                taken = Math.max(taken, 0) + (lapic.accept(interrupt, taker) ? 1 : 0);
            }
        }
        return taken;
    }

    /** Draws the map anew; without the longer ids there is none when two, truncated as they are, have the same. */
    void redrawMap() {
        int highest = lapics.keySet().stream().mapToInt(Integer::intValue).max().orElse(0);
        @Nullable FakeLapic[] next = new FakeLapic[Math.max(highest, BROADCAST) + 1];
        mapped = true;
        for (FakeLapic lapic : lapics.values()) {
            if (longApicIds && lapic.vcpuId() > BROADCAST) {
                next[lapic.vcpuId()] = lapic;
            }
            if (next[lapic.id()] == null) {
                next[lapic.id()] = lapic;
            } else if (!longApicIds) {
                mapped = false;
            }
        }
        map = next;
    }

    /** The vector decides which of those that listen. */
    private int deliverToOne(Interrupt interrupt, Consumer<FakeLapic> taker) {
        List<FakeLapic> listening = lapics.values().stream()
                .filter(lapic -> interrupt.isFor(lapic) && lapic.enabled())
                .toList();
        if (listening.isEmpty()) {
            return -1;
        }
        return listening.get(interrupt.vector() % listening.size()).accept(interrupt, taker) ? 1 : 0;
    }

    Iterable<FakeLapic> lapics() {
        return lapics.values();
    }

    /** A LAPIC's registers were replaced. */
    void restored(FakeLapic lapic) {
        redrawMap();
        if (irqchip == Irqchip.FULL) {
            ioapic.recount(lapic);
        }
    }

    /** A LAPIC has ended what was in service, level or not. */
    void ended(FakeLapic lapic) {
        ioapic.clockEnded(lapic);
    }

    void endOfInterrupt(int vector) {
        if (irqchip == Irqchip.FULL) {
            ioapic.endOfInterrupt(vector);
        }
    }

    /** The guest has ended what an IOAPIC pin raised: resampling irqfds lower their line and notify. */
    void acknowledged(int pin) {
        int gsi = gsiOfPin[pin];
        List<FakeIrqfd> resampling = irqfds.stream()
                .filter(irqfd -> irqfd.gsi() == gsi && irqfd.resample().isPresent())
                .toList();
        if (gsi >= 0 && !resampling.isEmpty()) {
            setIrq(gsi, SOURCE_RESAMPLE, false);
            resampling.forEach(FakeIrqfd::acknowledged);
        }
    }

    // Registrations

    void add(FakeIrqfd irqfd) {
        irqfds.add(irqfd);
        irqfd.event().attach(irqfd);
    }

    /** The last resampling irqfd of a GSI lowers its line. */
    void forget(FakeIrqfd irqfd) {
        irqfds.remove(irqfd);
        boolean last = irqfds.stream()
                .noneMatch(
                        other -> other.gsi() == irqfd.gsi() && other.resample().isPresent());
        if (irqfd.resample().isPresent() && last) {
            setIrq(irqfd.gsi(), SOURCE_RESAMPLE, false);
        }
    }

    void deassign(EventFile event, int gsi) {
        List.copyOf(irqfds).stream()
                .filter(irqfd -> irqfd.event() == event && irqfd.gsi() == gsi)
                .forEach(FakeIrqfd::shutDown);
    }

    List<FakeIoEventFd> ioEventFds() {
        return ioEventFds;
    }

    /** The ioeventfd that takes a guest's write. */
    Optional<FakeIoEventFd> ioEventFd(FakeIoEventFd.Bus bus, long address, int length, long data) {
        return ioEventFds.stream()
                .filter(one -> one.takes(bus, address, length, data))
                .findFirst();
    }

    /** No descriptor of the VM is left: irqfds go at once, vCPUs notwithstanding. */
    void close() {
        List.copyOf(irqfds).forEach(FakeIrqfd::shutDown);
        closed = true;
    }
}
