/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import static io.kvmirq.selftest.Scenarios.require;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Ppi;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.RouteTable;
import io.kvmirq.kvm.Vgic;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Runs each {@link Scenario} on a VGIC whose vCPU never runs: an interrupt has arrived when it is in the pending state.
 * The VGIC is a GICv3, or a GICv2 on a host that gives a VM no GICv3. For one thread.
 */
record PendingScenarios(Kernel kernel, int count, SelftestListener journal, Patience patience, RoundTrips tally) {
    private static final Spi ONE = new Spi(42);
    private static final Spi OTHER = new Spi(44);
    private static final Spi FIRST_OF_MANY = new Spi(64);
    private static final Ppi PRIVATE = new Ppi(23);
    /** Beyond the default routes. */
    private static final Gsi FREE = new Gsi(1024);

    private static final int EVENT = 1;
    private static final int LPI = 8200;
    private static final MsiMessage MESSAGE = ItsDriver.message(EVENT);
    static final long RAM = 0x4000_0000L;

    static final String NO_VGIC =
            "KVM on this host supports neither a guest GICv3 nor a guest GICv2, one of which the scenarios need";

    /** @return why this host cannot run any scenario; empty if it ran */
    Optional<String> run(Scenario scenario) {
        try (Undo undo = new Undo()) {
            Vm vm = undo.add(Vm.create(kernel));
            undo.add(vm.createVcpu(Board.VCPU)).arm64().initialize();
            boolean v3 = vm.supports(KvmDevice.Type.VGIC_V3);
            if (!v3 && !vm.supports(KvmDevice.Type.VGIC_V2)) {
                return Optional.of(NO_VGIC);
            }
            Vgic vgic = undo.add(v3 ? vm.arm64().createVgicV3() : vm.arm64().createVgicV2());
            vgic.init();
            journal.step(
                    Board.VCPU + ", never run; a GICv" + (v3 ? 3 : 2) + " with " + vgic.interrupts() + " interrupts",
                    "initialized");
            PendingState state = new PendingState(vgic);
            switch (scenario) {
                case EDGE -> edge(vm, state);
                case LEVEL -> level(vm, vgic, state);
                case MANY -> many(vm, state);
                case MASK -> mask(vm, state);
                case REROUTE -> reroute(vm, state);
                case GUESTLESS -> privateAndMessage(vm, vgic, state);
            }
            return Optional.empty();
        }
    }

    /** Counts one interrupt. @return the answer of its step, with {@code where} if it was seen */
    private String answer(boolean seen, String where) {
        tally.count(1, seen ? 1 : 0);
        return seen ? "seen pending" + where : "NOT seen pending";
    }

    private static Gsi gsi(Spi spi) {
        return new Gsi(spi.pin());
    }

    private boolean isTaken(PendingState state, Spi spi) {
        if (!patience.eventually(() -> state.isLatched(spi))) {
            return false;
        }
        state.clear(spi);
        return true;
    }

    private void edge(Vm vm, PendingState state) {
        try (EventFd interrupt = EventFd.create(kernel);
                Irqfd irqfd = vm.assignIrqfd(interrupt, gsi(ONE))) {
            journal.step(irqfd + " → pin " + ONE.pin() + ", " + ONE, "assigned");
            require(!state.isLatched(ONE), ONE + " was pending before it was raised");
            int seen = 0;
            for (int i = 0; i < count && !patience.over().getAsBoolean(); i++) {
                interrupt.signal();
                if (!isTaken(state, ONE)) {
                    break;
                }
                seen++;
                journal.progress(seen, count);
            }
            tally.count(count, seen);
            journal.step("raise it " + count + " times, clear its latch each time", seen + " seen pending");
        }
    }

    private void level(Vm vm, Vgic vgic, PendingState state) {
        vgic.makeLevel(ONE);
        try (EventFd interrupt = EventFd.create(kernel);
                EventFd resample = EventFd.create(kernel);
                Irqfd irqfd = vm.assignLevelIrqfd(interrupt, resample, gsi(ONE))) {
            journal.step(irqfd + " → " + ONE + ", level", "assigned");
            interrupt.signal();
            boolean high = patience.eventually(() -> state.isHigh(ONE));
            require(!(vgic instanceof VgicV3 v3 && v3.isLatched(ONE)), "a level interrupt was latched");
            require(resample.drain() == 0, "the resamplefd was signalled before an EOI");
            journal.step("assert", answer(high, ": line high, resamplefd silent"));
            journal.step("the guest's EOI, which signals the resamplefd", "not tried: no guest runs");
            irqfd.mask();
            require(!state.isHigh(ONE), "the line stayed high without its irqfd");
            require(resample.drain() == 1, "masking did not signal the resamplefd");
            journal.step("deassign the irqfd", "line low, resamplefd signalled");
            irqfd.unmask();
            interrupt.signal();
            journal.step(
                    "assign and assert again", answer(patience.eventually(() -> state.isHigh(ONE)), ": line high"));
        }
        require(!state.isHigh(ONE), "the line stayed high after its irqfd was removed");
    }

    private void many(Vm vm, PendingState state) {
        try (Undo undo = new Undo()) {
            List<Spi> spis = new ArrayList<>();
            List<EventFd> interrupts = new ArrayList<>();
            for (int i = 0; i < Scenarios.MANY_ROUTES; i++) {
                Spi spi = new Spi(FIRST_OF_MANY.number() + i);
                EventFd interrupt = undo.add(EventFd.create(kernel));
                undo.add(vm.assignIrqfd(interrupt, gsi(spi)));
                spis.add(spi);
                interrupts.add(interrupt);
            }
            journal.step(
                    Scenarios.MANY_ROUTES + " irqfds → " + spis.get(0) + "-"
                            + (FIRST_OF_MANY.number() + Scenarios.MANY_ROUTES - 1),
                    "assigned");
            interrupts.forEach(EventFd::signal);
            int seen = 0;
            for (Spi spi : spis) {
                seen += patience.eventually(() -> state.isLatched(spi)) ? 1 : 0;
            }
            tally.count(Scenarios.MANY_ROUTES, seen);
            journal.step(
                    "raise all " + Scenarios.MANY_ROUTES + " at once",
                    seen + " of " + Scenarios.MANY_ROUTES + " seen pending");
        }
    }

    private void mask(Vm vm, PendingState state) {
        vm.routes().edit(edit -> edit.add(Route.Pin.to(FREE, ONE)));
        try (EventFd interrupt = EventFd.create(kernel);
                Irqfd irqfd = vm.assignIrqfd(interrupt, FREE)) {
            journal.step(irqfd + " → " + ONE, "assigned");
            irqfd.mask();
            interrupt.signal(Scenarios.SIGNALS_WHILE_MASKED);
            require(!state.isLatched(ONE), "an interrupt passed the mask");
            journal.step(
                    "deassign the irqfd, signal " + Scenarios.SIGNALS_WHILE_MASKED + " times", "kept in the eventfd");
            irqfd.unmask();
            journal.step("assign again", answer(isTaken(state, ONE), ""));
            vm.routes().removeLosingInterrupts(FREE);
            interrupt.signal();
            irqfd.mask();
            irqfd.unmask();
            vm.routes().edit(edit -> edit.add(Route.Pin.to(FREE, ONE)));
            require(!state.isLatched(ONE), "an interrupt without a route arrived");
            journal.step("remove the route, signal, add the route", "lost, as expected; deassign the irqfd to mask");
            interrupt.signal();
            journal.step("signal", answer(isTaken(state, ONE), ""));
        }
    }

    private void reroute(Vm vm, PendingState state) {
        RouteTable routes = vm.routes();
        Runnable there = () -> routes.change(edit -> edit.remove(FREE).add(Route.Pin.to(FREE, OTHER)));
        Runnable back = () -> routes.change(edit -> edit.remove(FREE).add(Route.Pin.to(FREE, ONE)));
        back.run();
        try (EventFd interrupt = EventFd.create(kernel);
                Irqfd irqfd = vm.assignIrqfd(interrupt, FREE)) {
            journal.step(irqfd + " → " + ONE, "assigned");
            long first = 0;
            long second = 0;
            long sent = 0;
            try (Rerouter rerouter = new Rerouter(there, back)) {
                while ((sent < count || rerouter.changes() < Scenarios.LEAST_CHANGES)
                        && !patience.over().getAsBoolean()) {
                    rerouter.requireHealthy();
                    interrupt.signal();
                    sent++;
                    if (!patience.eventually(() -> state.isLatched(ONE) || state.isLatched(OTHER))) {
                        break;
                    }
                    boolean onFirst = state.isLatched(ONE);
                    state.clear(onFirst ? ONE : OTHER);
                    first += onFirst ? 1 : 0;
                    second += onFirst ? 0 : 1;
                    journal.progress(Math.min(sent, count), count);
                }
                journal.step("change the route at the same time", rerouter.end() + " changes");
            }
            tally.count(sent, first + second);
            journal.step("count by SPI", first + " on " + ONE.number() + ", " + second + " on " + OTHER.number());
            there.run();
            interrupt.signal();
            boolean rerouted = isTaken(state, OTHER);
            require(!state.isLatched(ONE), "an interrupt took an old route");
            journal.step("change the route, signal", answer(rerouted, " on " + OTHER));
        }
    }

    /** Interrupts without a pin: a PPI by a call, and a message through an ITS that is programmed from here. */
    private void privateAndMessage(Vm vm, Vgic vgic, PendingState state) {
        vm.arm64().setPpi(Board.VCPU, PRIVATE, true);
        journal.step("raise " + PRIVATE + " of " + Board.VCPU, answer(state.isHigh(PRIVATE), ": line high"));
        vm.arm64().setPpi(Board.VCPU, PRIVATE, false);
        require(!state.isHigh(PRIVATE), PRIVATE + " stayed high");
        journal.step("lower it", "line low");
        if (!(vgic instanceof VgicV3 v3) || !vm.supports(KvmDevice.Type.ITS)) {
            journal.step("a message to an ITS", "not tried: this host has none");
            return;
        }
        try (Its service = vm.arm64().createIts();
                GuestMemory memory = vm.addMemory(RAM, ItsDriver.MEMORY);
                EventFd interrupt = EventFd.create(kernel)) {
            service.setAddress(ItsDriver.ITS);
            service.init();
            requireOff(vm);
            ItsDriver driver = new ItsDriver(v3, service, RAM, 0, memory);
            driver.enable(Board.VCPU);
            driver.mapDevice();
            driver.mapEvent(EVENT, LPI);
            journal.step("enable the ITS, map device and event to LPI " + LPI, "done by registers and commands");
            Gsi gsi = vm.routes().add(MESSAGE);
            try (Irqfd irqfd = vm.assignIrqfd(interrupt, gsi)) {
                journal.step(irqfd + " → " + MESSAGE, "assigned");
                require(!driver.isPending(LPI), "LPI " + LPI + " was pending before it was raised");
                interrupt.signal();
                boolean pending = patience.eventually(() -> driver.isPending(LPI));
                journal.step("signal the eventfd", answer(pending, ": LPI " + LPI + " in the pending table"));
            }
        }
    }

    private void requireOff(Vm vm) {
        try {
            vm.signal(MESSAGE);
            throw new SelftestFailedException("the ITS accepted a message before the self-test enabled it");
        } catch (KernelException e) {
            require(e.errno().equals(Errno.EBUSY), "expected EBUSY from an ITS that is off: " + e.getMessage());
            journal.step(MESSAGE + " while the ITS is off", "EBUSY, as expected");
        }
    }
}
