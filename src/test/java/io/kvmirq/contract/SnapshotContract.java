/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.X86Msr;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Cpuid;
import io.kvmirq.kvm.IoapicState;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Events;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.kvm.X86Msrs;
import io.kvmirq.kvm.X86Pic;
import io.kvmirq.kvm.X86Pit;
import io.kvmirq.snapshot.VmMove;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.snapshot.VmSnapshot;
import io.kvmirq.undo.Undo;
import java.time.Duration;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.ReentrantLock;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A guest goes on in another VM of another kernel, and no interrupt is lost or comes twice. */
@Contract
class SnapshotContract extends KernelSuite {
    private static final int EVENTS = SnapshotGuest.EVENTS;
    private static final int TSC_DEADLINE_MODE = 2 << 17;
    /** IRR register of the vectors from 0x40 on. */
    private static final int IRR = 0x220;

    private static final int ISR = 0x120;

    @BeforeEach
    void needsTheIrqchip() {
        world.assumeFullIrqchip();
        assumeTrue(kernel.isReal() || world.isSince(6, 12), "an older fake answers the same");
    }

    /** A kernel that nothing was asked of, if it is a fake. */
    private KernelBackend fresh() {
        return kernel.isReal() ? kernel : world.anotherFake().kernel();
    }

    private SnapshotGuest move(SnapshotGuest from) {
        SnapshotGuest next = from.next(fresh());
        try (VmMove move = VmMove.from(from.parts())) {
            VmSnapshot.parse(move.text()).restore(next.parts());
        }
        from.close();
        return next;
    }

    private static void awaitCounts(SnapshotGuest guest, int... expected) {
        World.eventually("the guest counted", () -> {
            for (int i = 0; i < expected.length; i++) {
                if (guest.counted(i) < expected[i]) {
                    return false;
                }
            }
            return true;
        });
        guest.pause();
        for (int i = 0; i < expected.length; i++) {
            assertThat(guest.counted(i)).as("event " + i).isEqualTo(expected[i]);
        }
    }

    /** 0: in a LAPIC's IRR. 1: in service, not counted. 2: in the eventfd of an irqfd that is masked. 3: of a free one. */
    @Test
    void interruptStaysInItsPlace() {
        SnapshotGuest guest = SnapshotGuest.booted(kernel);
        try {
            guest.events.get(1).signal();
            guest.runTo(SnapshotGuest.ENTERED);
            int served = guest.vcpu.x86().lapic().get(ISR);
            guest.events.get(0).signal();
            guest.irqfds.get(2).mask();
            guest.events.get(2).signal(5);
            guest.closeIrqfd(3);
            guest = move(guest);
            X86Lapic lapic = guest.vcpu.x86().lapic();
            assertThat(lapic.get(IRR)).isEqualTo(1);
            assertThat(lapic.get(ISR)).as("ISR, which kvm_pvm ends at once").isEqualTo(served);
            assertThat(guest.irqfds.get(2).isMasked()).isTrue();
            guest.resume();
            awaitCounts(guest, 1, 1, 0, 0, 0, 0, 0, 0);
            guest.irqfds.get(2).unmask();
            guest.resume();
            awaitCounts(guest, 1, 1, 1, 0, 0, 0, 0, 0);
        } finally {
            guest.close();
        }
    }

    @Test
    void snapshotLeavesTheVmAsItWas() {
        try (SnapshotGuest guest = SnapshotGuest.booted(kernel)) {
            guest.irqfds.get(1).mask();
            guest.events.get(1).signal(7);
            guest.events.get(0).signal();
            VmSnapshot first = VmSnapshot.take(guest.parts());
            assertThat(guest.irqfds.get(0).isMasked()).isFalse();
            assertThat(guest.irqfds.get(1).isMasked()).isTrue();
            assertThat(guest.events.get(1).drain()).isEqualTo(7);
            guest.events.get(1).signal(7);
            assertThat(VmSnapshot.take(guest.parts())).hasToString(first.toString());
            guest.events.get(2).signal();
            guest.irqfds.get(1).unmask();
            guest.resume();
            awaitCounts(guest, 1, 1, 1, 0, 0, 0, 0, 0);
        }
    }

    @Test
    void whatComesAfterAMoveStaysInTheEventfd() {
        try (SnapshotGuest guest = SnapshotGuest.booted(kernel)) {
            guest.irqfds.get(0).mask();
            guest.events.get(0).signal(3);
            try (VmMove move = VmMove.from(guest.parts())) {
                guest.events.get(0).signal();
                guest.events.get(1).signal();
                assertThat(guest.irqfds).allMatch(Irqfd::isMasked);
                assertThat(guest.events.get(0).drain()).as(move.toString()).isOne();
                assertThat(guest.events.get(1).drain()).isOne();
                assertThat(guest.vcpu.x86().isRequested(new InterruptVector(SnapshotGuest.FIRST + 1)))
                        .isFalse();
            }
            assertThat(guest.events.get(0).drain()).as("of before, given back").isEqualTo(3);
        }
    }

    @Test
    void chipsClockAndLinesAreTheSame() {
        SnapshotGuest guest = SnapshotGuest.booted(kernel);
        try {
            Route.Pin pin = new Route.Pin(new Gsi(9), Route.Chip.IOAPIC, 9);
            guest.vm
                    .x86()
                    .setIoapic(guest.vm.x86().ioapic().levelPin(pin, new InterruptVector(SnapshotGuest.FIRST + 5)));
            guest.vm.x86().setPic(guest.vm.x86().pic(Route.Chip.PIC_SLAVE).set(X86Pic.Name.IMR, 0x5a));
            guest.vm.x86().setPit(guest.vm.x86().pit().set(X86Pit.Name.COUNT_1, 0x777));
            guest.vm.x86().setClock(Duration.ofHours(1));
            guest.vm.routes().edit(edit -> edit.remove(new Gsi(4)));
            guest.vm.x86().setLine(new Gsi(9), true);
            guest = move(guest);
            assertThat(guest.vm.x86().pic(Route.Chip.PIC_SLAVE).get(X86Pic.Name.IMR))
                    .isEqualTo(0x5a);
            assertThat(guest.vm.x86().pit().get(X86Pit.Name.COUNT_1)).isEqualTo(0x777);
            assertThat(guest.vm.x86().clock()).isBetween(Duration.ofHours(1), Duration.ofHours(2));
            assertThat(guest.vm.routes().of(new Gsi(4))).isEmpty();
            assertThat(guest.vm.x86().ioapic().isRemoteIrrSet(pin)).isTrue();
            assertThat(guest.vm.x86().isHigh(new Gsi(9))).isTrue();
            guest.vm.x86().setLine(new Gsi(9), false);
            assertThat(guest.vm.x86().ioapic().isHigh(pin)).isFalse();
            guest.runTo(SnapshotGuest.ENDED);
            assertThat(guest.vm.x86().ioapic().isRemoteIrrSet(pin)).isFalse();
            assertThat(guest.counted(5)).isOne();
        } finally {
            guest.close();
        }
    }

    /** A line that the VMM holds high, of which the guest took the edge. */
    @Test
    void edgeDoesNotComeAgain() {
        SnapshotGuest guest = SnapshotGuest.booted(kernel);
        try {
            Gsi gsi = new Gsi(9);
            Route.Pin pin = new Route.Pin(gsi, Route.Chip.IOAPIC, 9);
            guest.vm.routes().edit(edit -> edit.remove(gsi).add(pin));
            byte[] edge = guest.vm
                    .x86()
                    .ioapic()
                    .levelPin(pin, new InterruptVector(SnapshotGuest.FIRST + 5))
                    .bytes();
            edge[24 + 9 * 8 + 1] = 0;
            guest.vm.x86().setIoapic(IoapicState.fromBytes(edge));
            guest.vm.x86().setLine(gsi, true);
            guest.runTo(SnapshotGuest.ENDED);
            guest = move(guest);
            assertThat(guest.vcpu.x86().isRequested(new InterruptVector(SnapshotGuest.FIRST + 5)))
                    .isFalse();
            guest.vm.x86().setLine(gsi, false);
            guest.vm.x86().setLine(gsi, true);
            guest.runTo(SnapshotGuest.ENDED);
            assertThat(guest.counted(5)).isEqualTo(2);
        } finally {
            guest.close();
        }
    }

    @Test
    void endOfALineIsHeardInTheOtherVm() {
        SnapshotGuest guest = SnapshotGuest.booted(kernel);
        try {
            Gsi gsi = new Gsi(11);
            Route.Pin pin = new Route.Pin(gsi, Route.Chip.IOAPIC, 11);
            guest.vm.routes().edit(edit -> edit.remove(gsi).add(pin));
            guest.vm
                    .x86()
                    .setIoapic(guest.vm.x86().ioapic().levelPin(pin, new InterruptVector(SnapshotGuest.FIRST + 6)));
            guest.closeIrqfd(1);
            guest.closeIrqfd(0);
            Irqfd line = guest.vm.assignLevelIrqfd(guest.events.get(0), guest.events.get(1), gsi);
            guest.irqfds.add(line);
            guest.events.get(0).signal();
            SnapshotGuest paused = guest;
            World.eventually("the line is high", () -> paused.vm.x86().ioapic().isRemoteIrrSet(pin));
            guest = move(guest);
            assertThat(guest.events.get(1).drain())
                    .as("a mask tells the device, which asserts it again")
                    .isOne();
            guest.events.get(0).signal();
            guest.runTo(SnapshotGuest.ENDED);
            EventFd ended = guest.events.get(1);
            World.eventually("the device hears of the EOI", () -> ended.drain() == 1);
            assertThat(guest.counted(6)).isOne();
        } finally {
            guest.close();
        }
    }

    /** A VM whose VMM has the IOAPIC. */
    private static final class Split implements AutoCloseable {
        final Kernel kernel;
        final Vm vm;
        final Vcpu vcpu;
        final GuestIoapic ioapic;
        private final Undo open = new Undo();

        Split(KernelBackend backend) {
            kernel = open.add(Kernel.over(backend));
            vm = open.add(Vm.create(kernel));
            vm.x86().createSplitIrqchip(GuestIoapic.PINS);
            vcpu = open.add(vm.createVcpu(new VcpuId(0)));
            vcpu.x86().enableLapic();
            ioapic = new GuestIoapic(vm, GuestIoapic.PINS);
        }

        VmParts parts() {
            return new VmParts(vm).vcpu(new VcpuId(0), vcpu).ioapic(ioapic);
        }

        @Override
        public void close() {
            open.close();
        }
    }

    @Test
    void ioapicOfTheVmmGoesOnInTheOtherVm() {
        Gsi gsi = new Gsi(11);
        InterruptVector vector = new InterruptVector(0x51);
        try (Split from = new Split(kernel);
                Split to = new Split(fresh())) {
            from.ioapic.write(0, 4, 0x10 + 2 * gsi.number());
            from.ioapic.write(0x10, 4, 1 << 15 | vector.number());
            from.ioapic.line(gsi, true);
            long entry = from.ioapic.entry(gsi.number());
            VmSnapshot.parse(VmSnapshot.take(from.parts()).text()).restore(to.parts());
            assertThat(to.ioapic.entry(gsi.number())).isEqualTo(entry).isEqualTo(0xc000 | vector.number());
            assertThat(to.vm.routes().of(gsi))
                    .isEqualTo(from.vm.routes().of(gsi))
                    .hasSize(1);
            assertThat(to.vcpu.x86().isRequested(vector)).isTrue();
            int level = 0x180 + vector.number() / 32 * 16;
            assertThat(to.vcpu.x86().lapic().get(level) >>> vector.number() % 32 & 1)
                    .isEqualTo(1);
            to.vcpu.x86().setLapic(to.vcpu.x86().lapic().set(0x200 + vector.number() / 32 * 16, 0));
            to.ioapic.endOfInterrupt(vector); // the line is still high
            assertThat(to.vcpu.x86().isRequested(vector)).isTrue();
            to.ioapic.line(gsi, false);
            to.ioapic.endOfInterrupt(vector);
            assertThat(to.ioapic.entry(gsi.number())).isEqualTo(1 << 15 | vector.number());
        }
    }

    /** It is ignored unless the LAPIC's timer has that mode already. */
    @Test
    void deadlineOfATimerIsKept() {
        SnapshotGuest guest = new SnapshotGuest(kernel);
        try {
            Cpuid.Leaf old = Cpuid.ofHost(guest.kernel).leaf(1, 0).orElseThrow();
            guest.vcpu
                    .x86()
                    .setCpuid(Cpuid.ofHost(guest.kernel)
                            .with(new Cpuid.Leaf(
                                    1, 0, old.flags(), old.eax(), old.ebx(), old.ecx() | 1 << 24, old.edx())));
            guest.vcpu.x86().enableLapic();
            guest.vcpu.x86().setLapic(guest.vcpu.x86().lapic().set(X86Lapic.Name.LVT_TIMER, TSC_DEADLINE_MODE | 0x41));
            long now = guest.vcpu.x86().msrs(new X86Msrs().set(X86Msr.TSC, 0)).get(X86Msr.TSC);
            X86Msrs deadline = new X86Msrs().set(X86Msr.TSC_DEADLINE, now + (1L << 40));
            guest.vcpu.x86().setMsrs(deadline);
            guest = move(guest);
            assertThat(guest.vcpu.x86().msrs(deadline).get(X86Msr.TSC_DEADLINE)).isEqualTo(now + (1L << 40));
            assertThat(guest.vcpu.x86().msrs(new X86Msrs().set(X86Msr.TSC, 0)).get(X86Msr.TSC))
                    .isGreaterThan(now);
        } finally {
            guest.close();
        }
    }

    @Test
    void processorThatWaitsForItsStartDoesSoInTheOtherVm() {
        String text;
        try (Kernel from = Kernel.over(kernel);
                Vm vm = Vm.create(from)) {
            vm.x86().createIrqchip();
            try (Vcpu boot = vm.createVcpu(new VcpuId(0));
                    Vcpu second = vm.createVcpu(new VcpuId(1))) {
                boot.setState(VcpuState.HALTED);
                second.x86().setEvents(second.x86().events().set(X86Events.Name.INIT_LATCHED, 1));
                text = VmSnapshot.take(two(vm, boot, second)).text();
            }
        }
        try (Kernel to = Kernel.over(fresh());
                Vm vm = Vm.create(to)) {
            vm.x86().createIrqchip();
            try (Vcpu boot = vm.createVcpu(new VcpuId(0));
                    Vcpu second = vm.createVcpu(new VcpuId(1))) {
                VmSnapshot.parse(text).restore(two(vm, boot, second));
                assertThat(boot.state()).isEqualTo(VcpuState.HALTED);
                assertThat(second.state()).isEqualTo(VcpuState.INIT_RECEIVED);
                assertThat(VmSnapshot.take(two(vm, boot, second)).vcpus()).hasSize(2);
            }
        }
    }

    private static VmParts two(Vm vm, Vcpu boot, Vcpu second) {
        return new VmParts(vm).vcpu(new VcpuId(1), second).vcpu(new VcpuId(0), boot);
    }

    private static boolean isRefused(SnapshotGuest guest) {
        try {
            VmSnapshot.take(guest.parts());
            return false;
        } catch (IllegalStateException e) {
            assertThat(e).hasMessageContaining("is run by thread 'vcpu 0 of a");
            return true;
        }
    }

    @Test
    void vcpuThatRunsIsRefused() {
        try (SnapshotGuest guest = SnapshotGuest.booted(kernel)) {
            guest.resume();
            World.eventually("a guest that runs is refused", () -> {
                try {
                    guest.vcpu.moveHere();
                } catch (IllegalStateException e) {
                    return isRefused(guest); // not if its run ended meanwhile
                }
                guest.resumeIfEnded();
                return false;
            });
            guest.pause();
            guest.vcpu.moveHere();
            guest.events.get(0).signal();
            assertThat(guest.vcpu.run().port()).isEqualTo(SnapshotGuest.ENTERED);
            assertThatThrownBy(() -> VmSnapshot.take(guest.parts()))
                    .hasMessageStartingWith("vcpu 0 is within a guest access");
            guest.completeExit();
            VmSnapshot.take(guest.parts());
        }
    }

    // Under load

    /** Signals each event when the guest has counted it, while the VM runs, is paused, and moves. */
    private final class Load implements AutoCloseable {
        /** Held for one signal, and while the guest is exchanged. */
        private final ReentrantLock exchange = new ReentrantLock();

        private final int[] sent = new int[EVENTS];
        private final Thread thread = new Thread(this::signal, "devices");
        private final AtomicReference<SnapshotGuest> guest;
        private final AtomicReference<String> flaw = new AtomicReference<>("");
        private volatile boolean ended;

        Load(SnapshotGuest first) {
            guest = new AtomicReference<>(first);
            thread.start();
        }

        private void signal() {
            Random random = new Random(1);
            while (!ended) {
                int i = random.nextInt(EVENTS);
                exchange.lock();
                try {
                    int counted = guest.get().counted(i);
                    if (counted == sent[i]) {
                        sent[i]++;
                        guest.get().events.get(i).signal();
                    } else if (counted > sent[i]) {
                        flaw.set("event " + i + " came " + counted + " times, and was sent " + sent[i]);
                        ended = true;
                    }
                } finally {
                    exchange.unlock();
                }
                if (random.nextInt(EVENTS) == 0) {
                    Thread.yield();
                }
            }
        }

        /** The devices go on with the next guest; closing the move sends there what they sent to the former one. */
        void exchange(SnapshotGuest next) {
            exchange.lock();
            try {
                guest.set(next);
            } finally {
                exchange.unlock();
            }
        }

        @Override
        public void close() {
            end();
        }

        void end() {
            ended = true;
            while (thread.isAlive()) {
                Thread.onSpinWait();
            }
        }
    }

    @Test
    void noInterruptIsLostUnderLoad() {
        int moves = kernel.isReal() ? Integer.getInteger("kvmirq.test.snapshot.moves", 20) : 10;
        assumeFalse(!kernel.isReal() && !world.isSince(6, 18), "one fake is enough for load");
        Random random = new Random(27);
        SnapshotGuest guest = SnapshotGuest.booted(kernel);
        int inRequest = 0;
        int inService = 0;
        int inEvent = 0;
        int sum = 0;
        try (Load load = new Load(guest)) {
            for (int move = 0; move < moves; move++) {
                guest.resume();
                changeSomething(guest, random);
                int enough = guest.counted(move % EVENTS) + 1;
                SnapshotGuest running = guest;
                int watched = move % EVENTS;
                if (!guest.irqfds.get(watched).isMasked()) {
                    World.eventually(
                            "an interrupt",
                            () -> running.counted(watched) >= enough
                                    || !load.flaw.get().isEmpty());
                }
                guest.pause();
                guest.vcpu.moveHere();
                if (move % 3 == 0) {
                    // the signals of a paused VM reach its LAPIC
                    World.eventually("each is under way", () -> isUnderWay(running, load));
                }
                SnapshotGuest next = guest.next(fresh());
                try (VmMove mover = VmMove.from(guest.parts())) {
                    X86Lapic lapic = guest.vcpu.x86().lapic();
                    inRequest += lapic.get(IRR) != 0 ? 1 : 0;
                    inService += lapic.get(ISR) != 0 ? 1 : 0;
                    inEvent += mover.text().contains("\"count\":\"0x1\"") ? 1 : 0;
                    mover.into(next.parts());
                    load.exchange(next);
                }
                guest.close();
                guest = next;
                assertThat(load.flaw.get()).isEmpty();
            }
            load.end();
            guest.irqfds.forEach(Irqfd::unmask);
            guest.resume();
            awaitCounts(guest, load.sent);
            assertThat(load.flaw.get()).isEmpty();
            for (int sent : load.sent) {
                sum += sent;
            }
        } finally {
            guest.close();
        }
        System.out.println(world + ": " + moves + " moves, " + sum + " interrupts, 0 lost; pending in IRR " + inRequest
                + ", in ISR " + inService + ", in an eventfd " + inEvent);
        assertThat(inRequest).isPositive();
        assertThat(inEvent).isPositive();
    }

    private static boolean isUnderWay(SnapshotGuest guest, Load load) {
        for (int i = 0; i < EVENTS; i++) {
            if (guest.counted(i) == load.sent[i]) {
                return false;
            }
        }
        return true;
    }

    /** A mask, or a route. */
    private static void changeSomething(SnapshotGuest guest, Random random) {
        for (int i = 0; i < EVENTS; i++) {
            Irqfd irqfd = guest.irqfds.get(i);
            switch (random.nextInt(4)) {
                case 0 -> irqfd.mask();
                case 1 -> irqfd.unmask();
                case 2 ->
                    guest.vm
                            .routes()
                            .replace(irqfd.gsi(), SnapshotGuest.message(random.nextBoolean() ? i : i + EVENTS));
                default -> {}
            }
        }
    }
}
