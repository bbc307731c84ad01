/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

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
    private final Map<Integer, FakeLapic> lapics = new TreeMap<>();
    private final List<FakeIrqfd> irqfds = new ArrayList<>();
    private final List<FakeIoEventFd> ioEventFds = new ArrayList<>();
    private Map<Integer, List<Target>> routes = new HashMap<>();
    /** By IOAPIC pin: the GSI whose end of interrupt it is; -1 for none. */
    private final int[] gsiOfPin = new int[FakeIoapic.PINS];

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

    FakeIoapic ioapic() {
        return ioapic;
    }

    FakeLapic addLapic(int vcpuId) {
        FakeLapic lapic = new FakeLapic(this, vcpuId);
        lapics.put(vcpuId, lapic);
        return lapic;
    }

    boolean hasLapics() {
        return !lapics.isEmpty();
    }

    // Interrupts

    /** @return the sum over the routes that listened, -1 when none did */
    int setIrq(int gsi, int source, boolean level) {
        int sum = -1;
        List<Target> targets = routes.get(gsi);
        if (targets == null || closed) {
            return sum;
        }
        for (int i = 0; i < targets.size(); i++) {
            int result = drive(targets.get(i), source, level);
            if (result >= 0) {
                sum = result + Math.max(sum, 0);
            }
        }
        return sum;
    }

    private int drive(Target target, int source, boolean level) {
        if (target.message()) {
            return level ? signal(target.address(), target.data()) : -1;
        }
        return switch (target.chip()) {
            case MASTER, SLAVE -> pics[target.chip()].set(target.pin(), source, level);
            default -> ioapic.set(target.pin(), source, level);
        };
    }

    /** A message; -1 when no destination matched. */
    int signal(long address, int data) {
        int destination = (int) (address >>> 12) & 0xff;
        if (longApicIds) {
            destination |= (int) (address >>> 32) & ~0xff;
        }
        boolean logical = (address >>> 2 & 1) == 1;
        return deliver(destination, logical, data >>> 8 & 7, data & 0xff, (data >>> 15 & 1) == 1);
    }

    /** @return how many LAPICs took it; -1 when none was asked */
    int deliver(int destination, boolean logical, int mode, int vector, boolean level) {
        if (logical) {
            throw new NotModelledException("logical destinations");
        }
        boolean everybody = destination == BROADCAST;
        int taken = lapics.isEmpty() ? -1 : 0;
        for (FakeLapic lapic : lapics.values()) {
            if ((everybody || lapic.isPhysical(destination)) && lapic.accept(mode, vector, level)) {
                taken++;
            }
        }
        return taken;
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
    Optional<FakeIoEventFd> ioEventFd(boolean port, long address, int length, long data) {
        return ioEventFds.stream()
                .filter(one -> one.takes(port, address, length, data))
                .findFirst();
    }

    /** No descriptor of the VM is left: irqfds go at once, vCPUs notwithstanding. */
    void close() {
        List.copyOf(irqfds).forEach(FakeIrqfd::shutDown);
        closed = true;
    }
}
