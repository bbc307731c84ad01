/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.guest.GuestCode;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Undo;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.IoapicState;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.RouteTable;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import java.util.ArrayList;
import java.util.List;

/** Runs each {@link Scenario}. For one thread; each method runs once. */
record Scenarios(Kernel kernel, Irqchip irqchip, int count, Journal journal, Patience patience, Tally tally) {
    private static final InterruptVector VECTOR = new InterruptVector(0x31);
    private static final InterruptVector OTHER_VECTOR = new InterruptVector(0x32);
    static final int MANY = 64;
    private static final int FIRST_OF_MANY = 0x40;
    static final int SIGNALS_WHILE_MASKED = 3;
    /** The minimum number of route changes, even if {@code count} is smaller. */
    static final int CHANGES = 10;

    static final Route.Pin LEVEL_PIN = new Route.Pin(new Gsi(5), Route.Chip.IOAPIC, 5);
    static final IoAddress ANY_ANSWER = IoAddress.port(GuestCode.PORT_ANSWER, 1);

    void edge(Guest guest) {
        Gsi gsi = guest.route(VECTOR);
        journal.step("route " + gsi + " → " + MsiMessage.to(Guest.VCPU, VECTOR), "ok");
        try (EventFd interrupt = EventFd.create(kernel);
                EventFd answer = EventFd.create(kernel);
                Irqfd irqfd = guest.vm().assignIrqfd(interrupt, gsi);
                IoEventFd ioEventFd = guest.vm().assignIoEventFd(ANY_ANSWER, answer)) {
            journal.step(irqfd.toString(), "assigned");
            journal.step("ioeventfd port 0x80 → " + ioEventFd.event(), "assigned");
            boot(guest);
            guest.release();
            flow(new Device(interrupt, answer, patience));
            requireHandled(guest, VECTOR, count);
        }
    }

    private void flow(Device device) {
        for (int i = 0; i < count; i++) {
            long start = System.nanoTime();
            if (!device.roundTrip()) {
                break;
            }
            tally.time(System.nanoTime() - start);
            journal.progress(i + 1, count);
        }
        counted(device);
    }

    private void counted(Device device) {
        tally.count(device);
        journal.step(
                "raise " + device.sent() + " interrupts, each after the last answer", device.answered() + " answered");
    }

    void level(Guest guest) {
        Vm vm = guest.vm();
        guest.handle(VECTOR);
        // The default route also drives the PIC, which this guest does not use.
        vm.routes().change(edit -> edit.remove(LEVEL_PIN.gsi()).add(LEVEL_PIN));
        vm.restore(vm.ioapic().levelPin(LEVEL_PIN, VECTOR));
        journal.step("route " + LEVEL_PIN.gsi() + " → IOAPIC pin 5, level, " + VECTOR, "ok");
        try (EventFd interrupt = EventFd.create(kernel);
                EventFd resample = EventFd.create(kernel);
                EventFd answer = EventFd.create(kernel);
                Irqfd irqfd = vm.assignLevelIrqfd(interrupt, resample, LEVEL_PIN.gsi());
                IoEventFd ioEventFd = vm.assignIoEventFd(ANY_ANSWER, answer)) {
            journal.step(irqfd.toString(), "assigned");
            journal.step("ioeventfd port 0x80 → " + ioEventFd.event(), "assigned");
            boot(guest);
            Device device = new Device(interrupt, answer, patience);
            device.raise();
            requireHeldUntilEoi(vm, resample);
            guest.release();
            if (device.awaitAnswer()) {
                reassert(device, resample);
            }
            counted(device);
            IoapicState after = vm.ioapic();
            require(!after.isHigh(LEVEL_PIN), "the line stayed high after the last EOI");
            require(!after.isRemoteIrrSet(LEVEL_PIN), "Remote IRR stayed set after the last EOI");
            journal.step("stop asserting", "line low, Remote IRR clear");
            requireHandled(guest, VECTOR, count);
        }
    }

    private void requireHeldUntilEoi(Vm vm, EventFd resample) {
        require(patience.eventually(() -> vm.ioapic().isRemoteIrrSet(LEVEL_PIN)), "no LAPIC took the interrupt");
        require(vm.ioapic().isHigh(LEVEL_PIN), "the line is not high before the guest's EOI");
        require(resample.drain() == 0, "the resamplefd was signalled before the guest's EOI");
        journal.step("assert while the guest has interrupts off", "line high, Remote IRR set, resamplefd silent");
    }

    /** The device keeps its line high: each EOI signals the resamplefd, and the device raises the interrupt again. */
    private void reassert(Device device, EventFd resample) {
        long ended = awaitResample(resample);
        while (device.sent() < count) {
            if (!device.roundTrip()) {
                return;
            }
            ended += awaitResample(resample);
            journal.progress(device.sent(), count);
        }
        require(
                ended == count,
                "the guest ended " + count + " interrupts, the resamplefd was signalled " + ended + " times");
        journal.step("assert again at each EOI, " + count + " times", "resamplefd signalled " + ended + " times");
    }

    private long awaitResample(EventFd resample) {
        require(patience.await(resample), "the guest's EOI did not signal the resamplefd");
        return resample.drain();
    }

    void many(Guest guest) {
        try (Undo undo = new Undo()) {
            List<InterruptVector> vectors = new ArrayList<>();
            List<Device> devices = new ArrayList<>();
            for (int i = 0; i < MANY; i++) {
                vectors.add(new InterruptVector(FIRST_OF_MANY + i));
            }
            List<Gsi> gsis = guest.vm().routes().change(edit -> vectors.stream()
                    .map(vector -> edit.add(MsiMessage.to(Guest.VCPU, vector)))
                    .toList());
            journal.step(
                    "route " + gsis.get(0) + "-" + gsis.get(MANY - 1).number() + " → vectors 0x40-0x7f",
                    guest.vm().routes().commits() + " commit");
            for (int i = 0; i < MANY; i++) {
                guest.handle(vectors.get(i));
                EventFd interrupt = undo.add(EventFd.create(kernel));
                EventFd answer = undo.add(EventFd.create(kernel));
                undo.add(guest.vm().assignIrqfd(interrupt, gsis.get(i)));
                undo.add(guest.vm()
                        .assignIoEventFd(
                                IoAddress.port(
                                        GuestCode.PORT_ANSWER, 1, vectors.get(i).number()),
                                answer));
                devices.add(new Device(interrupt, answer, patience));
            }
            journal.step("64 irqfds, 64 ioeventfds on port 0x80 by value", "assigned");
            boot(guest);
            devices.forEach(Device::raise);
            guest.release();
            devices.forEach(Device::awaitAnswer);
            devices.forEach(tally::count);
            for (int i = 0; i < MANY; i++) {
                requireHandled(guest, vectors.get(i), 1);
                require(
                        devices.get(i).answered() == 1,
                        vectors.get(i) + " was answered " + devices.get(i).answered() + " times on its ioeventfd");
            }
            journal.step("raise all 64 at once", "each in its own slot, once");
        }
    }

    void mask(Guest guest) {
        Gsi gsi = guest.route(VECTOR);
        try (EventFd interrupt = EventFd.create(kernel);
                EventFd answer = EventFd.create(kernel);
                Irqfd irqfd = guest.vm().assignIrqfd(interrupt, gsi);
                IoEventFd ioEventFd = guest.vm().assignIoEventFd(ANY_ANSWER, answer)) {
            journal.step(irqfd + ", ioeventfd → " + ioEventFd.event(), "assigned");
            boot(guest);
            guest.release();
            irqfd.mask();
            journal.step("deassign the irqfd", "masked, the route stays");
            interrupt.signal(SIGNALS_WHILE_MASKED);
            journal.step("signal " + SIGNALS_WHILE_MASKED + " times", "kept in the eventfd");
            Device device = new Device(interrupt, answer, patience);
            irqfd.unmask();
            tally.count(1, device.awaitAnswer() ? device.answered() : 0);
            requireHandled(guest, VECTOR, 1);
            journal.step("assign again", "arrived once");
            loseOnPurpose(guest, irqfd, interrupt, device);
        }
    }

    /** Removing the route instead of the irqfd loses an interrupt. A second interrupt, the marker, proves that. */
    private void loseOnPurpose(Guest guest, Irqfd irqfd, EventFd interrupt, Device device) {
        int before = guest.handled(VECTOR);
        guest.vm().routes().removeLosingInterrupts(irqfd.gsi());
        interrupt.signal();
        // A worker of the kernel looks up the route. Deassigning waits for the worker, so it cannot find the later
        // route.
        irqfd.mask();
        irqfd.unmask();
        guest.vm().routes().replace(irqfd.gsi(), MsiMessage.to(Guest.VCPU, VECTOR));
        require(device.roundTrip(), "the marker after the trap did not arrive");
        int arrived = guest.handled(VECTOR) - before;
        tally.count(1, arrived);
        require(
                arrived == 1,
                "of an interrupt without a route and a marker after it " + arrived
                        + " arrived, expected the marker alone");
        journal.step("the trap: remove the route, signal, add the route", "lost, as expected: keep the route to mask");
    }

    void reroute(Guest guest) {
        Gsi gsi = guest.route(VECTOR);
        guest.handle(OTHER_VECTOR);
        try (EventFd interrupt = EventFd.create(kernel);
                EventFd answer = EventFd.create(kernel);
                Irqfd irqfd = guest.vm().assignIrqfd(interrupt, gsi);
                IoEventFd ioEventFd = guest.vm().assignIoEventFd(ANY_ANSWER, answer)) {
            journal.step(irqfd + ", ioeventfd → " + ioEventFd.event(), "assigned");
            boot(guest);
            guest.release();
            Device device = new Device(interrupt, answer, patience);
            RouteTable routes = guest.vm().routes();
            try (Rerouter rerouter = new Rerouter(
                    () -> routes.replace(gsi, MsiMessage.to(Guest.VCPU, OTHER_VECTOR)),
                    () -> routes.replace(gsi, MsiMessage.to(Guest.VCPU, VECTOR)))) {
                for (int i = 0; (i < count || rerouter.changes() < CHANGES) && device.roundTrip(); i++) {
                    rerouter.requireHealthy();
                    journal.progress(Math.min(i + 1, count), count);
                }
                journal.step("change the route all the while", rerouter.end() + " changes");
            }
            settle(guest, gsi, device, VECTOR);
            settle(guest, gsi, device, OTHER_VECTOR);
            counted(device);
            int first = guest.handled(VECTOR);
            int second = guest.handled(OTHER_VECTOR);
            journal.step("count by vector", first + " on 0x31, " + second + " on 0x32");
            require(
                    first + second == device.sent(),
                    "the handlers took " + (first + second) + ", expected " + device.sent());
        }
    }

    /** With the rerouter stopped, the next interrupt must take the new route. */
    private static void settle(Guest guest, Gsi gsi, Device device, InterruptVector vector) {
        guest.vm().routes().replace(gsi, MsiMessage.to(Guest.VCPU, vector));
        int before = guest.handled(vector);
        require(device.roundTrip(), "nothing arrived after the last change of the route");
        require(guest.handled(vector) == before + 1, "an interrupt took an old route, past " + vector);
    }

    void guestless() {
        try (Vm vm = Vm.create(kernel)) {
            irqchip.create(vm);
            try (Vcpu vcpu = vm.createVcpu(Guest.VCPU);
                    EventFd interrupt = EventFd.create(kernel)) {
                vcpu.enableLapic();
                journal.step("create vcpu 0, never run; enable its LAPIC", "ok");
                Gsi gsi = vm.routes().add(MsiMessage.to(Guest.VCPU, VECTOR));
                try (Irqfd irqfd = vm.assignIrqfd(interrupt, gsi)) {
                    journal.step(irqfd + " → " + MsiMessage.to(Guest.VCPU, VECTOR), "assigned");
                    require(!vcpu.isRequested(VECTOR), VECTOR + " was in the IRR before it was raised");
                    interrupt.signal();
                    tally.count(1, patience.eventually(() -> vcpu.isRequested(VECTOR)) ? 1 : 0);
                    journal.step("signal the eventfd", VECTOR + " is set in the LAPIC's IRR");
                }
            }
        }
    }

    private void boot(Guest guest) {
        guest.boot();
        journal.step("boot the guest", "its LAPIC is on (x2APIC)");
    }

    private static void requireHandled(Guest guest, InterruptVector vector, long expected) {
        guest.requireAlive();
        int handled = guest.handled(vector);
        require(
                handled == expected,
                "the guest's handler of " + vector + " ran " + handled + " times, expected " + expected);
    }

    static void require(boolean holds, String otherwise) {
        if (!holds) {
            throw new SelftestFailedException(otherwise);
        }
    }
}
