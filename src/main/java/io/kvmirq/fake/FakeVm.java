/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** The interrupt side of a VM: chips, routes and what is registered; source: virt/kvm/irqchip.c, arch/x86/kvm/irq.c. */
final class FakeVm {
    static final int SOURCE_USERSPACE = 0;
    static final int SOURCE_RESAMPLE = 1;

    private static final int MASTER = 0;
    private static final int SLAVE = 1;

    /** Which interrupt controllers are in the kernel. */
    enum Irqchip {
        NONE,
        SPLIT,
        FULL
    }

    private final FakeKernel kernel;
    private final FakePic[] pics = {new FakePic(this, 0xf8), new FakePic(this, 0xde)};
    private final FakeIoapic ioapic = new FakeIoapic(this);
    private final Lapics lapics = new Lapics(this);
    private final Set<FakeIrqfd> irqfds = new LinkedHashSet<>();
    private final List<FakeIoEventFd> ioEventFds = new ArrayList<>();
    private FakeRoutes routes = FakeRoutes.none();

    private Irqchip irqchip = Irqchip.NONE;
    private int reservedPins;
    private boolean pit;
    private int bootVcpu;
    private boolean closed;

    FakeVm(FakeKernel kernel) {
        this.kernel = kernel;
    }

    FakeKernel kernel() {
        return kernel;
    }

    void note(Rule rule) {
        kernel.note(rule);
    }

    Irqchip irqchip() {
        return irqchip;
    }

    void createFullIrqchip() {
        irqchip = Irqchip.FULL;
        routes = FakeRoutes.ofFullIrqchip();
    }

    /** @param pins how many GSIs are those of the VMM's IOAPIC; the kernel keeps 8 bits of the number */
    void createSplitIrqchip(int pins) {
        irqchip = Irqchip.SPLIT;
        reservedPins = pins & 0xff;
    }

    Lapics lapics() {
        return lapics;
    }

    boolean hasPit() {
        return pit;
    }

    void createPit() {
        pit = true;
    }

    /** The vCPU that runs first and takes the PICs' interrupts. */
    boolean isBootVcpu(int id) {
        return id == bootVcpu;
    }

    void bootVcpu(int id) {
        bootVcpu = id;
    }

    FakeRoutes routes() {
        return routes;
    }

    void setRoutes(FakeRoutes next) {
        routes = next;
        if (irqchip == Irqchip.SPLIT) {
            lapics.wantScan();
        }
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

    // Interrupts

    /** @return the sum over the routes that listened, -1 when none did */
    int setIrq(int gsi, int source, boolean level) {
        return setIrq(gsi, source, level, false);
    }

    /** @param wanted whether the caller wants to know what came of it */
    int setIrq(int gsi, int source, boolean level, boolean wanted) {
        int sum = -1;
        if (closed) {
            return sum;
        }
        FakeRoutes.Target[] targets = routes.of(gsi);
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
            return level && !message.isInvalid(lapics.hasLongIds()) ? lapics.deliver(message) : -1;
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

    /** Tells a LAPIC whose end matters: what pins may raise, the kernel's or those of the VMM's IOAPIC. */
    void scan(FakeLapic lapic) {
        if (irqchip == Irqchip.FULL) {
            ioapic.scan(lapic);
        }
        if (irqchip == Irqchip.SPLIT) {
            note(Rule.SPLIT_PINS_KEPT);
        }
        for (int gsi = 0; gsi < reservedPins; gsi++) {
            for (FakeRoutes.Target target : routes.of(gsi)) {
                Interrupt message = target.message();
                if (message != null && message.level()) {
                    lapic.ends().add(message.vector(), lapics.isFor(message, lapic), lapic.isPending(message.vector()));
                }
            }
        }
    }

    /** A LAPIC's registers were replaced. */
    void restored(FakeLapic lapic) {
        lapics.redrawMap();
        if (irqchip == Irqchip.FULL) {
            ioapic.recount(lapic);
        }
    }

    void endOfInterrupt(FakeLapic lapic, int vector, boolean level) {
        if (irqchip == Irqchip.FULL) {
            ioapic.endOfInterrupt(lapic, vector, level);
        } else {
            lapic.ends().tellVmm(vector);
        }
    }

    /** Whether somebody waits for the end of what a pin raises. */
    boolean isResampled(int pin) {
        int gsi = routes.gsiOfPin(pin);
        return gsi >= 0 && isResampledGsi(gsi);
    }

    private boolean isResampledGsi(int gsi) {
        return irqfds.stream()
                .anyMatch(irqfd -> irqfd.gsi() == gsi && irqfd.resample().isPresent());
    }

    /** The guest has ended what an IOAPIC pin raised: resampling irqfds lower their line and notify. */
    void acknowledged(int pin) {
        int gsi = routes.gsiOfPin(pin);
        List<FakeIrqfd> resampling = irqfds.stream()
                .filter(irqfd -> irqfd.gsi() == gsi && irqfd.resample().isPresent())
                .toList();
        if (gsi >= 0 && !resampling.isEmpty()) {
            note(Rule.RESAMPLE_ON_EOI);
            setIrq(gsi, SOURCE_RESAMPLE, false);
            resampling.forEach(FakeIrqfd::acknowledged);
        }
    }

    // Registrations

    void add(FakeIrqfd irqfd) {
        if (irqfd.resample().isPresent() && !isResampledGsi(irqfd.gsi())) {
            lapics.wantScan();
        }
        irqfds.add(irqfd);
        irqfd.event().attach(irqfd);
    }

    void forget(FakeIrqfd irqfd) {
        irqfds.remove(irqfd);
        if (irqfd.resample().isPresent()) {
            resamplerGone(irqfd.gsi());
        }
    }

    /** The last resampling irqfd of a GSI lowers its line, and so does one that was refused late. */
    void resamplerGone(int gsi) {
        if (!isResampledGsi(gsi)) {
            note(Rule.RESAMPLE_LAST_LOWERS);
            lapics.wantScan();
            setIrq(gsi, SOURCE_RESAMPLE, false);
        }
    }

    void deassign(EventFile event, int gsi) {
        note(Rule.IRQFD_DEASSIGN);
        event.irqfds().stream()
                .filter(irqfd -> irqfd.isOf(this) && irqfd.gsi() == gsi)
                .forEach(FakeIrqfd::shutDown);
        kernel.work().finishShutDowns();
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
        if (!irqfds.isEmpty()) {
            note(Rule.IRQFD_GONE_WITH_VM);
            List.copyOf(irqfds).forEach(FakeIrqfd::shutDown);
        }
        kernel.work().finishShutDowns();
        closed = true;
    }
}
