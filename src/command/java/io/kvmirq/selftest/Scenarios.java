/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** Runs each {@link Scenario}. For one thread; each method runs once. */
record Scenarios(
        Kernel kernel, Irqchip irqchip, int count, SelftestListener journal, Patience patience, RoundTrips tally) {
    /** Vector of the scenario without a guest. */
    private static final InterruptVector VECTOR = new InterruptVector(0x31);

    private static final int ONE = 1;
    private static final int OTHER = 2;
    static final int MANY_ROUTES = 64;
    private static final int FIRST_OF_MANY = 0x10;
    static final int SIGNALS_WHILE_MASKED = 3;
    /** A deassign takes the kernel some milliseconds, so one in this many interrupts is masked. */
    private static final int MASKED_OF = 100;
    /** The minimum number of route changes, even if {@code count} is smaller. */
    static final int LEAST_CHANGES = 10;

    void edge(Guest guest) {
        Board board = guest.board();
        Gsi gsi = guest.route(ONE);
        journal.step("route " + gsi + " → " + board.destination(ONE), "ok");
        try (EventFd interrupt = EventFd.create(kernel);
                EventFd answer = EventFd.create(kernel);
                Irqfd irqfd = guest.vm().assignIrqfd(interrupt, gsi);
                IoEventFd ioEventFd = guest.vm().assignIoEventFd(guest.board().answer(), answer)) {
            journal.step(irqfd.toString(), "assigned");
            journal.step("ioeventfd " + board.words().answerPlace() + " → " + ioEventFd.event(), "assigned");
            boot(guest);
            guest.release();
            flow(new Device(interrupt, answer, patience));
            requireHandled(guest, ONE, count);
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
        Board board = guest.board();
        Gsi gsi = board.openLine();
        journal.step("route " + gsi + " → " + board.words().linePlace(), "ok");
        try (EventFd interrupt = EventFd.create(kernel);
                EventFd resample = EventFd.create(kernel);
                EventFd answer = EventFd.create(kernel);
                Irqfd irqfd = vm.assignLevelIrqfd(interrupt, resample, gsi);
                IoEventFd ioEventFd = vm.assignIoEventFd(board.answer(), answer)) {
            journal.step(irqfd.toString(), "assigned");
            journal.step("ioeventfd " + board.words().answerPlace() + " → " + ioEventFd.event(), "assigned");
            boot(guest);
            Device device = new Device(interrupt, answer, patience);
            device.raise();
            requireHeldUntilEoi(board, resample);
            guest.release();
            if (device.awaitAnswer()) {
                reassert(device, resample);
            }
            counted(device);
            require(!guest.seen(board::isLineHigh), "the line stayed high after the last EOI");
            require(!guest.seen(board::isLineInService), "the interrupt stayed in service after the last EOI");
            journal.step("stop asserting", board.words().lineAtRest());
            requireHandled(guest, board.line(), count);
        }
    }

    private void requireHeldUntilEoi(Board board, EventFd resample) {
        require(patience.eventually(board::isLineSeen), "no processor received the interrupt");
        require(board.isLineHigh(), "the line is not high before the guest's EOI");
        require(resample.drain() == 0, "the resamplefd was signalled before the guest's EOI");
        journal.step("assert while the guest has interrupts off", board.words().lineSeen() + ", resamplefd silent");
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
                "the guest sent " + count + " EOIs, but the resamplefd was signalled " + ended + " times");
        journal.step("assert again at each EOI, " + count + " times", "resamplefd signalled " + ended + " times");
    }

    private long awaitResample(EventFd resample) {
        require(patience.await(resample), "the guest's EOI did not signal the resamplefd");
        return resample.drain();
    }

    void many(Guest guest) {
        try (Undo undo = new Undo()) {
            Board board = guest.board();
            List<Device> devices = new ArrayList<>();
            int last = FIRST_OF_MANY + MANY_ROUTES - 1;
            List<Gsi> gsis = guest.vm().routes().change(edit -> IntStream.rangeClosed(FIRST_OF_MANY, last)
                    .mapToObj(interrupt -> board.add(edit, interrupt))
                    .toList());
            journal.step(
                    "route " + gsis.get(0) + "-" + gsis.get(MANY_ROUTES - 1).number() + " → "
                            + board.words().kind() + "s " + board.number(FIRST_OF_MANY) + "-" + board.number(last),
                    guest.vm().routes().commits() + " commit");
            for (int i = 0; i < MANY_ROUTES; i++) {
                guest.handle(FIRST_OF_MANY + i);
                EventFd interrupt = undo.add(EventFd.create(kernel));
                EventFd answer = undo.add(EventFd.create(kernel));
                undo.add(guest.vm().assignIrqfd(interrupt, gsis.get(i)));
                undo.add(guest.vm().assignIoEventFd(board.answer(FIRST_OF_MANY + i), answer));
                devices.add(new Device(interrupt, answer, patience));
            }
            journal.step("64 irqfds, 64 ioeventfds on " + board.words().answerPlace() + " by value", "assigned");
            boot(guest);
            int rounds = (count + MANY_ROUTES - 1) / MANY_ROUTES;
            boolean answered = true;
            for (int round = 0; round < rounds && answered; round++) {
                devices.forEach(Device::raise);
                guest.release();
                answered = devices.stream().filter(Device::awaitAnswer).count() == MANY_ROUTES;
                journal.progress(Math.min((round + 1) * MANY_ROUTES, count), count);
            }
            devices.forEach(tally::count);
            for (int i = 0; i < MANY_ROUTES; i++) {
                requireHandled(guest, FIRST_OF_MANY + i, rounds);
                require(
                        devices.get(i).answered() == rounds,
                        board.name(FIRST_OF_MANY + i) + " was answered "
                                + devices.get(i).answered() + " times on its ioeventfd");
            }
            journal.step("raise all 64 at once (rounds: " + rounds + ")", "each in its own slot in every round");
        }
    }

    void mask(Guest guest) {
        Gsi gsi = guest.route(ONE);
        try (EventFd interrupt = EventFd.create(kernel);
                EventFd answer = EventFd.create(kernel);
                Irqfd irqfd = guest.vm().assignIrqfd(interrupt, gsi);
                IoEventFd ioEventFd = guest.vm().assignIoEventFd(guest.board().answer(), answer)) {
            journal.step(irqfd + ", ioeventfd → " + ioEventFd.event(), "assigned");
            boot(guest);
            guest.release();
            Device device = new Device(interrupt, answer, patience);
            int masked = 0;
            boolean answered = true;
            for (int i = 0; i < count && answered; i++) {
                if (i % MASKED_OF == 0) {
                    irqfd.mask();
                    interrupt.signal(SIGNALS_WHILE_MASKED - 1);
                    device.raise();
                    irqfd.unmask();
                    answered = device.awaitAnswer();
                    masked++;
                } else {
                    answered = device.roundTrip();
                }
                journal.progress(i + 1, count);
            }
            journal.step(
                    "deassign the irqfd before each " + MASKED_OF + "th interrupt",
                    masked + " masked, the route stays");
            journal.step("signal " + SIGNALS_WHILE_MASKED + " times, assign again", "each arrived once");
            counted(device);
            requireHandled(guest, ONE, count);
            loseOnPurpose(guest, irqfd, interrupt, device);
        }
    }

    /** Removing the route instead of the irqfd loses an interrupt. A second interrupt, the marker, proves that. */
    private void loseOnPurpose(Guest guest, Irqfd irqfd, EventFd interrupt, Device device) {
        int before = guest.handled(ONE);
        guest.vm().routes().removeLosingInterrupts(irqfd.gsi());
        interrupt.signal();
        // A worker of the kernel looks up the route. Deassigning waits for the worker, so it cannot find the later
        // route.
        irqfd.mask();
        irqfd.unmask();
        guest.reroute(irqfd.gsi(), ONE);
        require(device.roundTrip(), "the marker after the trap did not arrive");
        int arrived = guest.handled(ONE) - before;
        tally.count(1, arrived);
        require(
                arrived == 1,
                "of an unrouted interrupt and a marker after it, " + arrived + " arrived, expected only the marker");
        journal.step("remove the route, signal, add the route", "lost, as expected; deassign the irqfd to mask");
    }

    void reroute(Guest guest) {
        Board board = guest.board();
        Gsi gsi = guest.route(ONE);
        guest.handle(OTHER);
        try (EventFd interrupt = EventFd.create(kernel);
                EventFd answer = EventFd.create(kernel);
                Irqfd irqfd = guest.vm().assignIrqfd(interrupt, gsi);
                IoEventFd ioEventFd = guest.vm().assignIoEventFd(guest.board().answer(), answer)) {
            journal.step(irqfd + ", ioeventfd → " + ioEventFd.event(), "assigned");
            boot(guest);
            guest.release();
            Device device = new Device(interrupt, answer, patience);
            try (Rerouter rerouter = new Rerouter(() -> guest.reroute(gsi, OTHER), () -> guest.reroute(gsi, ONE))) {
                for (int i = 0; (i < count || rerouter.changes() < LEAST_CHANGES) && device.roundTrip(); i++) {
                    rerouter.requireHealthy();
                    journal.progress(Math.min(i + 1, count), count);
                }
                journal.step("change the route at the same time", rerouter.end() + " changes");
            }
            settle(guest, gsi, device, ONE);
            settle(guest, gsi, device, OTHER);
            counted(device);
            int first = guest.handled(ONE);
            int second = guest.handled(OTHER);
            journal.step(
                    "count by " + board.words().kind(),
                    first + " on " + board.number(ONE) + ", " + second + " on " + board.number(OTHER));
            require(
                    first + second == device.sent(),
                    "the handlers ran " + (first + second) + " times, expected " + device.sent());
        }
    }

    /** With the rerouter stopped, the next interrupt must take the new route. */
    private static void settle(Guest guest, Gsi gsi, Device device, int interrupt) {
        guest.reroute(gsi, interrupt);
        int before = guest.handled(interrupt);
        require(device.roundTrip(), "nothing arrived after the last route change");
        require(
                guest.handled(interrupt) == before + 1,
                "an interrupt took an old route, past " + guest.board().name(interrupt));
    }

    void guestless() {
        try (Vm vm = Vm.create(kernel)) {
            irqchip.create(vm);
            try (Vcpu vcpu = vm.createVcpu(Board.VCPU);
                    EventFd interrupt = EventFd.create(kernel)) {
                vcpu.x86().enableLapic();
                journal.step("create vcpu 0, enable its LAPIC, do not run it", "ok");
                Gsi gsi = vm.routes().add(MsiMessage.to(Board.VCPU, VECTOR));
                try (Irqfd irqfd = vm.assignIrqfd(interrupt, gsi)) {
                    journal.step(irqfd + " → " + MsiMessage.to(Board.VCPU, VECTOR), "assigned");
                    require(!vcpu.x86().isRequested(VECTOR), VECTOR + " was in the IRR before it was raised");
                    interrupt.signal();
                    tally.count(1, patience.eventually(() -> vcpu.x86().isRequested(VECTOR)) ? 1 : 0);
                    journal.step("signal the eventfd", VECTOR + " is set in the LAPIC's IRR");
                }
            }
        }
    }

    private void boot(Guest guest) {
        guest.boot();
        journal.step("boot the guest", guest.board().ready());
    }

    private static void requireHandled(Guest guest, int interrupt, long expected) {
        guest.requireAlive();
        int handled = guest.handled(interrupt);
        require(
                handled == expected,
                "the guest's handler of " + guest.board().name(interrupt) + " ran " + handled + " times, expected "
                        + expected);
    }

    static void require(boolean holds, String otherwise) {
        if (!holds) {
            throw new SelftestFailedException(otherwise);
        }
    }
}
