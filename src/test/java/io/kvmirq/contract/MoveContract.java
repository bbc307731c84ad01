/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.pci.EmulatedVectors;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.snapshot.SnapshotException;
import io.kvmirq.snapshot.VmMove;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.snapshot.VmSnapshot;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** A VM moves into another with all that is named, while its devices signal the old eventfds. */
@Contract
class MoveContract extends KernelSuite {
    private static final VcpuId FIRST = new VcpuId(0);
    private static final Gsi PIN = new Gsi(20);
    private static final long HOLE = 0xd0000;
    private static final int TABLE = 0x200;
    private static final int DEVICE = 0x60;
    private static final int TIMER = 0x64;
    private static final int LINE = 0x65;
    private static final int MASKED = 1;
    private static final int IRR = 0x200;

    private final Undo open = new Undo();

    /** A line, a vector, an emulated function with two vectors, and an eventfd; the guest is played by hand. */
    private final class Machine implements EmulatedFunction.Registers {
        final Kernel opened = open.add(
                Kernel.over(kernel.isReal() ? kernel : world.anotherFake().kernel()));
        final Vm vm = open.add(Vm.create(opened));
        final EventFd lineEvent = open.add(EventFd.create(opened));
        final EventFd resample = open.add(EventFd.create(opened));
        final EventFd ack = open.add(EventFd.create(opened));
        final PciHostBridge bus = new PciHostBridge(HOLE, 0x8000);
        final EmulatedVectors vectors;
        final EmulatedFunction function;
        final Vcpu vcpu;
        final Irqfd line;
        final MaskableVector timer;

        Machine() {
            vm.x86().createIrqchip();
            vcpu = open.add(vm.createVcpu(FIRST));
            line = open.add(vm.assignLevelIrqfd(lineEvent, resample, PIN));
            timer = open.add(MaskableVector.create(vm, message(0x70)));
            vectors = open.add(EmulatedVectors.create(vm, 2));
            function = open.add(EmulatedFunction.builder(bus, 1, vm, this)
                    .ids(0x1234, 0x11e8)
                    .bar(0, 0x1000)
                    .msix(vectors, 0, TABLE, 0x800)
                    .build());
        }

        VmParts parts() {
            return parts("ack");
        }

        VmParts parts(String nameOfAck) {
            return new VmParts(vm)
                    .vcpu(FIRST, vcpu)
                    .irqfd("line", line)
                    .vector("timer", timer)
                    .event(nameOfAck, ack)
                    .device("function", function);
        }

        /** As firmware and a driver do. */
        Machine booted() {
            vcpu.x86().enableLapic();
            vm.x86()
                    .setIoapic(vm.x86()
                            .ioapic()
                            .levelPin(new Route.Pin(PIN, Route.Chip.IOAPIC, PIN.number()), new InterruptVector(LINE)));
            timer.reroute(message(TIMER));
            config(4, 2, 2);
            for (int i = 0; i < vectors.count(); i++) {
                entry(i, 0);
            }
            int capability = config(0x34) & 0xff;
            config(capability + 2, 0x8000, 2);
            return this;
        }

        void entry(int vector, int control) {
            bus.write(
                    false,
                    HOLE + TABLE + 16L * vector,
                    4,
                    message(DEVICE + vector).address());
            bus.write(false, HOLE + TABLE + 16L * vector + 8, 4, DEVICE + vector);
            bus.write(false, HOLE + TABLE + 16L * vector + 12, 4, control);
        }

        private void select(int register) {
            bus.write(true, 0xcf8, 4, 0x80000000L | 1 << 11 | register & ~3);
        }

        private int config(int register) {
            select(register);
            return (int) bus.read(true, 0xcfc, 4);
        }

        private void config(int register, long value, int size) {
            select(register);
            bus.write(true, 0xcfc + (register & 3), size, value);
        }

        boolean isRequested(int vector) {
            return vcpu.x86().isRequested(new InterruptVector(vector));
        }

        void await(int... requested) {
            for (int vector : requested) {
                World.eventually("vector " + vector, () -> isRequested(vector));
            }
        }

        /** As the guest does with interrupts that it takes. */
        void takeAll() {
            X86Lapic lapic = vcpu.x86().lapic();
            for (int i = 0; i < 8; i++) {
                lapic.set(IRR + 0x10 * i, 0);
            }
            vcpu.x86().setLapic(lapic);
        }

        /** Waits for what KVM injects now. */
        void settle() {
            function.hold();
            function.release();
        }

        @Override
        public long read(int bar, long at, int size) {
            return 0;
        }

        @Override
        public void write(int bar, long at, int size, long value) {}
    }

    @BeforeEach
    void needsTheIrqchip() {
        world.assumeFullIrqchip();
        assumeTrue(kernel.isReal() || world.isSince(6, 12), "an older fake answers the same");
    }

    @Override
    @AfterEach
    void close() {
        open.close();
        super.close();
    }

    private static MsiMessage message(int vector) {
        return MsiMessage.to(FIRST, new InterruptVector(vector));
    }

    /** Signals of before, during and after the call. */
    @Test
    void namedPartsMoveWithLateSignals() {
        Machine from = new Machine().booted();
        Machine to = new Machine();
        from.timer.mask();
        from.timer.signal();
        from.ack.signal(2);
        try (VmMove move = VmMove.from(from.parts())) {
            from.vectors.signal(0);
            from.lineEvent.signal();
            from.ack.signal();
            move.into(to.parts());
            from.vectors.signal(1);
            from.ack.signal();
        }
        to.await(DEVICE, DEVICE + 1, LINE);
        assertThat(to.isRequested(TIMER)).as("masked").isFalse();
        assertThat(to.ack.drain()).isEqualTo(4);
        assertThat(to.resample.drain()).as("the mask's").isOne();
        assertThat(to.line.isMasked()).isFalse();
        to.timer.unmask();
        to.await(TIMER);
        assertThat(from.line.isMasked()).isTrue();
        assertThat(from.vcpu.x86().lapic().get(IRR + 0x30)).as("in the old VM").isZero();
    }

    /** A pending bit is saved, and the vector's eventfd is signalled again. */
    @Test
    void vectorThatIsPendingInterruptsOnce() {
        Machine from = new Machine().booted();
        Machine to = new Machine();
        from.entry(0, MASKED);
        from.vectors.signal(0);
        try (VmMove move = VmMove.from(from.parts())) {
            from.vectors.signal(0);
            from.vectors.signal(1);
            move.into(to.parts());
        }
        to.await(DEVICE + 1);
        assertThat(to.isRequested(DEVICE)).isFalse();
        to.takeAll();
        to.entry(0, 0);
        to.await(DEVICE);
        to.takeAll();
        to.settle();
        assertThat(to.isRequested(DEVICE)).isFalse();
        assertThat(to.isRequested(DEVICE + 1)).isFalse();
    }

    @Test
    void textHasTheSignalsOfBeforeItsCall() {
        Machine from = new Machine().booted();
        Machine to = new Machine();
        String text;
        try (VmMove move = VmMove.from(from.parts())) {
            from.lineEvent.signal();
            from.vectors.signal(1);
            from.ack.signal(3);
            text = move.text();
        }
        VmSnapshot.parse(text).restore(to.parts());
        to.await(LINE, DEVICE + 1);
        assertThat(to.ack.drain()).isEqualTo(3);
        from.await(LINE, DEVICE + 1); // not moved, as far as this process knows
        assertThat(from.ack.drain()).isEqualTo(3);
    }

    @Test
    void refusedMoveLosesNothing() {
        Machine from = new Machine().booted();
        Machine to = new Machine();
        from.timer.mask();
        from.timer.signal();
        from.ack.signal(2);
        try (VmMove move = VmMove.from(from.parts())) {
            from.vectors.signal(0);
            from.lineEvent.signal();
            from.ack.signal();
            assertThatThrownBy(() -> move.into(to.parts("doorbell"))).isInstanceOf(SnapshotException.class);
            from.vectors.signal(1);
        }
        from.await(LINE, DEVICE, DEVICE + 1);
        assertThat(from.ack.drain()).isEqualTo(3);
        assertThat(from.isRequested(TIMER)).isFalse();
        from.timer.unmask();
        from.await(TIMER);
        assertThat(to.ack.drain()).isZero();
        assertThat(to.line.isMasked()).isFalse();
    }

    @Test
    void anotherVmIsTriedAfterARefusal() {
        Machine from = new Machine().booted();
        Machine to = new Machine();
        from.ack.signal(2);
        try (VmMove move = VmMove.from(from.parts())) {
            from.vectors.signal(0);
            assertThatThrownBy(() -> move.into(to.parts("doorbell"))).isInstanceOf(SnapshotException.class);
            move.into(to.parts());
        }
        to.await(DEVICE);
        assertThat(to.ack.drain()).isEqualTo(2);
    }

    /** A device, such as a vhost queue, signals one eventfd for the old VM and the new one. */
    @Test
    void sharedEventfdInterruptsOnce() {
        Kernel opened = open.add(Kernel.over(kernel));
        EventFd queue = open.add(EventFd.create(opened));
        List<VmParts> parts = new ArrayList<>();
        List<Vcpu> vcpus = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            Vm vm = open.add(Vm.create(opened));
            vm.x86().createIrqchip();
            Vcpu vcpu = open.add(vm.createVcpu(FIRST));
            vcpu.x86().enableLapic();
            vcpus.add(vcpu);
            MaskableVector vector = open.add(MaskableVector.createMasked(vm, List.of(queue), List.of(message(TIMER)))
                    .get(0));
            parts.add(new VmParts(vm).vcpu(FIRST, vcpu).vector("queue", vector));
            if (i == 0) {
                vector.unmask();
            }
        }
        try (VmMove move = VmMove.from(parts.get(0))) {
            queue.signal(2);
            move.into(parts.get(1));
        }
        World.eventually("it came", () -> vcpus.get(1).x86().isRequested(new InterruptVector(TIMER)));
        assertThat(vcpus.get(0).x86().isRequested(new InterruptVector(TIMER))).isFalse();
    }

    private static String refusal(VmMove move, VmParts parts) {
        try {
            move.into(parts);
            return "accepted in silence";
        } catch (RuntimeException e) {
            return String.valueOf(e.getMessage()).replaceAll("\\(fd \\d+\\)", "(fd N)");
        }
    }

    @Test
    void wrongTargetHasASentence() {
        Machine from = new Machine().booted();
        Machine to = new Machine();
        EventFd other = open.add(EventFd.create(to.opened));
        UnaryOperator<VmParts> rest =
                parts -> parts.vcpu(FIRST, to.vcpu).vector("timer", to.timer).device("function", to.function);
        VmParts plain = rest.apply(new VmParts(to.vm)).event("ack", to.ack);
        try (VmMove move = VmMove.from(from.parts())) {
            String misfit = "the snapshot does not fit vm (fd N): ";
            assertThat(refusal(move, from.parts()))
                    .isEqualTo("vm (fd N) cannot move into itself: build another VM, or close the move to run this one"
                            + " again");
            assertThat(refusal(move, plain.leaveOut(PIN)))
                    .startsWith(misfit + "it has the eventfd 'line', which is not among [timer, ack]");
            assertThat(refusal(move, to.parts().event("more", other)))
                    .isEqualTo(misfit + "it lacks the eventfd 'more' of this VM: give both VMs parts with the same"
                            + " names");
            assertThat(refusal(
                            move,
                            rest.apply(new VmParts(to.vm))
                                    .event("ack", to.ack)
                                    .event("line", to.lineEvent)
                                    .event("line resample", to.resample)
                                    .leaveOut(PIN)))
                    .startsWith(misfit + "it has the irqfd 'line', which is not among [timer]");
            Irqfd edge = open.add(to.vm.assignIrqfd(other, new Gsi(21)));
            assertThat(refusal(move, to.parts()))
                    .isEqualTo(misfit + "gsi 21 of vm (fd N) has 1 irqfds, of which 0 are among the parts: close the"
                            + " others before the restore, or name them in both VMs");
            to.line.close();
            assertThat(refusal(
                            move,
                            rest.apply(new VmParts(to.vm))
                                    .event("ack", to.ack)
                                    .event("line resample", to.resample)
                                    .irqfd("line", edge)))
                    .startsWith(misfit + "its irqfd 'line' has the resample eventfd 'line resample', unlike this VM's"
                            + " irqfd eventfd (fd N) → gsi 21");
        }
        assertThatThrownBy(() -> VmMove.from(from.parts("line"))).hasMessageContaining("two parts are named line");
    }

    @Test
    void moveEndsOnce() {
        Machine from = new Machine().booted();
        Machine to = new Machine();
        VmMove unused = VmMove.from(from.parts());
        unused.close();
        unused.close();
        assertThatThrownBy(unused::text)
                .isInstanceOf(IllegalStateException.class)
                .hasMessage(from.vm + " is not moving: its move was closed");
        try (VmMove move = VmMove.from(from.parts())) {
            move.into(to.parts());
            assertThatThrownBy(() -> move.into(to.parts()))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage(from.vm + " has moved into " + to.vm);
        }
    }

    /** Each part is signalled once a move, before, during or after it. */
    @Tag("long")
    @Test
    void hundredMovesLoseNothing() {
        Machine from = new Machine().booted();
        for (int round = 0; round < 100; round++) {
            Machine to = new Machine();
            Machine old = from;
            Runnable signals = () -> {
                old.vectors.signal(0);
                old.vectors.signal(1);
                old.lineEvent.signal();
                old.timer.signal();
                old.ack.signal();
            };
            if (round % 3 == 0) {
                signals.run();
            }
            try (VmMove move = VmMove.from(old.parts())) {
                if (round % 3 == 1) {
                    signals.run();
                }
                move.into(to.parts());
                if (round % 3 == 2) {
                    signals.run();
                }
            }
            to.await(DEVICE, DEVICE + 1, LINE, TIMER);
            assertThat(to.ack.drain()).as("round " + round).isOne();
            to.takeAll();
            to.vm.x86()
                    .setIoapic(to.vm.x86()
                            .ioapic()
                            .levelPin(new Route.Pin(PIN, Route.Chip.IOAPIC, PIN.number()), new InterruptVector(LINE)));
            to.settle();
            assertThat(to.isRequested(DEVICE)).as("twice in round " + round).isFalse();
            old.function.close();
            from = to;
        }
    }
}
