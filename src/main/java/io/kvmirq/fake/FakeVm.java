/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** The interrupt side of a VM on x86: its chips; source: virt/kvm/irqchip.c, arch/x86/kvm/irq.c. */
final class FakeVm extends VmInterrupts {
    private static final int MASTER = 0;
    private static final int SLAVE = 1;

    /** Which interrupt controllers are in the kernel. */
    enum Irqchip {
        NONE,
        SPLIT,
        FULL
    }

    private final FakePic[] pics = {new FakePic(this, 0xf8), new FakePic(this, 0xde)};
    private final FakeIoapic ioapic = new FakeIoapic(this);
    private final List<FakeLapic> lapics = new ArrayList<>();

    /** The LAPIC of each id as it was when the kernel last looked, where ids are unique. */
    private @Nullable FakeLapic[] map = {};

    private boolean mapped;
    private Irqchip irqchip = Irqchip.NONE;
    private boolean longApicIds;

    FakeVm(FakeKernel kernel) {
        super(kernel);
    }

    Irqchip irqchip() {
        return irqchip;
    }

    void createIrqchip(Irqchip kind) {
        irqchip = kind;
        if (kind == Irqchip.FULL) {
            setRoutes(FakeRoutes.ofFullIrqchip());
        }
    }

    boolean longApicIds() {
        return longApicIds;
    }

    void useLongApicIds() {
        longApicIds = true;
    }

    @Override
    Optional<Rule> refusesIrqfd(boolean resample) {
        if (irqchip == Irqchip.NONE) {
            return Optional.of(Rule.IRQFD_NEEDS_IRQCHIP);
        }
        return resample && irqchip != Irqchip.FULL ? Optional.of(Rule.IRQFD_RESAMPLE_NEEDS_FULL) : Optional.empty();
    }

    @Override
    Optional<Rule> refusesRoutes() {
        return irqchip == Irqchip.NONE ? Optional.of(Rule.ROUTES_NEED_IRQCHIP) : Optional.empty();
    }

    @Override
    FakeRoutes.Reader routesReader() {
        return new FakeRoutes.Reader(FakeRoutes.pinsOfX86(irqchip == Irqchip.FULL), longApicIds);
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
        lapics.add(lapic);
        return lapic;
    }

    // Interrupts

    @Override
    void drive(int gsi, int source, boolean level) {
        setIrq(gsi, source, level, false);
    }

    /** A single message is sent without a worker. */
    @Override
    boolean driveAtOnce(FakeIrqfd irqfd) {
        boolean message = irqfd.resample().isEmpty() && routes().isMessage(irqfd.gsi());
        if (message) {
            setIrq(irqfd.gsi(), SOURCE_USERSPACE, true, false);
        }
        return message;
    }

    /**
     * Drives what a GSI is routed to.
     *
     * @param wanted whether the caller wants to know what came of it
     * @return the sum over the routes that listened, -1 when none did
     */
    int setIrq(int gsi, int source, boolean level, boolean wanted) {
        int sum = -1;
        if (isClosed()) {
            return sum;
        }
        FakeRoutes.Target[] targets = routes().of(gsi);
        note(targets.length == 0 ? Rule.LINE_UNROUTED : Rule.LINE_STATUS_SUM);
        for (FakeRoutes.Target target : targets) {
            int result = drive(target, source, level, wanted);
            if (result >= 0) {
                sum = result + Math.max(sum, 0);
            }
        }
        return sum;
    }

    private int drive(FakeRoutes.Target target, int source, boolean level, boolean wanted) {
        Interrupt message = target.message();
        if (message != null) {
            return level && !message.isInvalid(longApicIds) ? deliver(message) : -1;
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

    int deliver(Interrupt interrupt) {
        return deliver(interrupt, lapic -> {});
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
        int destination = interrupt.destination(longApicIds);
        boolean broadcast = destination == Interrupt.BROADCAST;
        int mode = interrupt.effectiveMode(broadcast);
        if (mapped && !broadcast) {
            note(Rule.MSI_BY_MAP);
            FakeLapic lapic = destination < map.length ? map[destination] : null;
            return lapic != null && lapic.accept(interrupt, mode, taker) ? 1 : 0;
        }
        if (broadcast) {
            note(Rule.MSI_BROADCAST);
        }
        if (interrupt.byPriority(broadcast)) {
            return deliverToOne(interrupt, destination, mode, taker);
        }
        int taken = -1;
        for (int i = 0; i < lapics.size(); i++) {
            FakeLapic lapic = lapics.get(i);
            if (broadcast || lapic.isPhysical(destination)) {
                taken = Math.max(taken, 0) + (lapic.accept(interrupt, mode, taker) ? 1 : 0);
            }
        }
        return taken;
    }

    /** The vector decides which of those that listen. */
    private int deliverToOne(Interrupt interrupt, int destination, int mode, Consumer<FakeLapic> taker) {
        List<FakeLapic> listening = lapics.stream()
                .filter(lapic -> destination == Interrupt.BROADCAST || lapic.isPhysical(destination))
                .filter(FakeLapic::enabled)
                .toList();
        if (listening.isEmpty()) {
            return -1;
        }
        return listening.get(interrupt.vector() % listening.size()).accept(interrupt, mode, taker) ? 1 : 0;
    }

    /** Draws the map anew; without the longer ids there is none when two, truncated as they are, have the same. */
    void redrawMap() {
        int highest = lapics.stream().mapToInt(FakeLapic::vcpuId).max().orElse(0);
        @Nullable FakeLapic[] next = new FakeLapic[Math.max(highest, Interrupt.BROADCAST) + 1];
        mapped = true;
        for (FakeLapic lapic : lapics) {
            if (longApicIds && lapic.vcpuId() > Interrupt.BROADCAST) {
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

    Iterable<FakeLapic> lapics() {
        return lapics;
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
        int gsi = routes().gsiOfPin(pin);
        List<FakeIrqfd> resampling = resampling(gsi);
        if (gsi >= 0 && !resampling.isEmpty()) {
            note(Rule.RESAMPLE_ON_EOI);
            drive(gsi, SOURCE_RESAMPLE, false);
            resampling.forEach(FakeIrqfd::acknowledged);
        }
    }
}
