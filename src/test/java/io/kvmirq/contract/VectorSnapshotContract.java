/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
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
import io.kvmirq.snapshot.SnapshotException;
import io.kvmirq.snapshot.VmMove;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.snapshot.VmSnapshot;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.Search;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Vectors of emulated devices, whose VM goes on elsewhere. */
@Contract
class VectorSnapshotContract extends KernelSuite {
    private static final int VECTORS = 4;
    private static final int FIRST = 0x60;
    private static final int PROGRAMS = 16;
    private static final int STEPS = 40;
    private static final List<String> WORDS =
            List.of("signal", "signal", "mask", "unmask", "reroute", "snapshot", "move", "take all");
    private static final int IRR = 0x200;

    private final List<Machine> machines = new ArrayList<>();

    /** A VM with a vCPU and vectors. */
    private final class Machine implements AutoCloseable {
        final Kernel opened =
                Kernel.over(kernel.isReal() ? kernel : world.anotherFake().kernel());
        final Vm vm = Vm.create(opened);
        final List<MaskableVector> vectors = new ArrayList<>(Collections.nCopies(VECTORS, null));
        final Vcpu vcpu;

        /** @param order in which the vectors are made */
        Machine(List<Integer> order) {
            machines.add(this);
            vm.x86().createIrqchip();
            vcpu = vm.createVcpu(new VcpuId(0));
            vcpu.x86().enableLapic();
            order.forEach(i -> vectors.set(i, MaskableVector.create(vm, message(FIRST - 1))));
        }

        MaskableVector get(int i) {
            return vectors.get(i);
        }

        VmParts parts() {
            VmParts parts = new VmParts(vm).vcpu(new VcpuId(0), vcpu);
            for (int i = 0; i < VECTORS; i++) {
                parts.vector("queue " + i, get(i));
            }
            return parts;
        }

        boolean isRequested(int vector) {
            return vcpu.x86().isRequested(new InterruptVector(vector));
        }

        /** As the guest does with interrupts that it takes. */
        void takeAll() {
            X86Lapic lapic = vcpu.x86().lapic();
            for (int i = 0; i < 8; i++) {
                lapic.set(IRR + 0x10 * i, 0);
            }
            vcpu.x86().setLapic(lapic);
        }

        @Override
        public void close() {
            machines.remove(this);
            MaskableVector.closeAll(vectors);
            vcpu.close();
            vm.close();
            opened.close();
        }
    }

    @BeforeEach
    void needsTheIrqchip() {
        world.assumeFullIrqchip();
        assumeTrue(kernel.isReal() || world.isSince(6, 12), "an older fake answers the same");
    }

    @Override
    @AfterEach
    void close() {
        List.copyOf(machines).forEach(Machine::close);
        super.close();
    }

    private static MsiMessage message(int vector) {
        return MsiMessage.to(new VcpuId(0), new InterruptVector(vector));
    }

    private static List<Integer> order() {
        return IntStream.range(0, VECTORS).boxed().toList();
    }

    private static List<Integer> reversed() {
        List<Integer> order = new ArrayList<>(order());
        Collections.reverse(order);
        return order;
    }

    private Machine filled() {
        Machine machine = new Machine(order());
        for (int i = 0; i < VECTORS; i++) {
            machine.get(i).reroute(message(FIRST + i));
        }
        return machine;
    }

    /** 0: waits behind a mask. 1: masked. 2: in the LAPIC. 3: signalled after the snapshot. */
    @Test
    void vectorGoesOnWithItsMaskItsPlaceAndWhatWaits() {
        Machine from = filled();
        from.get(0).mask();
        from.get(0).signal();
        from.get(1).mask();
        from.get(2).signal();
        World.eventually("2 is in the LAPIC", () -> from.isRequested(FIRST + 2));
        Machine to = new Machine(reversed());
        assertThat(to.get(0).gsi()).isNotEqualTo(from.get(0).gsi());
        try (VmMove move = VmMove.from(from.parts())) {
            from.get(3).signal();
            move.into(to.parts());
        }
        assertThat(from.get(0).event().drain()).as("moved to the other VM").isZero();
        for (int i = 0; i < VECTORS; i++) {
            MaskableVector vector = to.get(i);
            assertThat(vector.gsi()).isEqualTo(from.get(i).gsi());
            assertThat(vector.message()).isEqualTo(message(FIRST + i));
            assertThat(vector.isMasked()).isEqualTo(i < 2);
            assertThat(to.vm.routes().of(vector.gsi())).containsExactly(new Route.Msi(vector.gsi(), vector.message()));
        }
        World.eventually("3 came", () -> to.isRequested(FIRST + 3));
        assertThat(to.isRequested(FIRST + 2)).isTrue();
        assertThat(to.isRequested(FIRST)).isFalse();
        to.get(0).unmask();
        to.get(1).unmask();
        World.eventually("what waited came", () -> to.isRequested(FIRST));
        to.get(1).mask(); // waits for an injection
        assertThat(to.isRequested(FIRST + 1)).isFalse();
    }

    @Test
    void refusedRestoreLeavesTheVectors() {
        Machine from = filled();
        EventFd event = EventFd.create(from.opened);
        String text;
        try (event;
                Irqfd irqfd = from.vm.assignIrqfd(event, from.vm.routes().add(message(FIRST + VECTORS)))) {
            text = VmSnapshot.take(from.parts().irqfd("other", irqfd)).text();
        }
        Machine to = new Machine(reversed());
        to.get(1).mask();
        List<Gsi> gsis = to.vectors.stream().map(MaskableVector::gsi).toList();
        List<Route> routes = to.vm.routes().routes();
        try (EventFd busy = EventFd.create(to.opened);
                Irqfd irqfd = to.vm.assignIrqfd(busy, new Gsi(3000))) {
            try (Irqfd here = to.vm.maskedIrqfd(busy, new Gsi(3001))) {
                VmParts parts = to.parts().irqfd("other", here).leaveOut(irqfd.gsi());
                assertThatThrownBy(() -> VmSnapshot.parse(text).restore(parts)).isInstanceOf(KernelException.class);
                assertThat(here.isMasked()).isTrue();
                assertThat(here.gsi()).isEqualTo(new Gsi(3001));
            }
            assertThat(irqfd.isMasked()).isFalse();
        }
        assertThat(to.vectors).extracting(MaskableVector::gsi).isEqualTo(gsis);
        assertThat(to.vectors).extracting(MaskableVector::message).containsOnly(message(FIRST - 1));
        assertThat(to.vectors).extracting(MaskableVector::isMasked).containsExactly(false, true, false, false);
        assertThat(to.vm.routes().routes()).isEqualTo(routes);
    }

    @Test
    void eventfdOfNoMessageIsNoVector() {
        Machine from = filled();
        Machine to = new Machine(order());
        try (EventFd event = EventFd.create(from.opened);
                EventFd resample = EventFd.create(from.opened);
                EventFd here = EventFd.create(to.opened);
                Irqfd level = from.vm.assignLevelIrqfd(
                        event, resample, from.vm.routes().add(message(FIRST + VECTORS)))) {
            for (boolean hasIrqfd : List.of(false, true)) {
                VmParts parts = new VmParts(from.vm).vcpu(new VcpuId(0), from.vcpu);
                from.vectors.forEach(vector -> parts.leaveOut(vector.gsi()));
                parts.event("resample", resample);
                VmSnapshot saved = VmSnapshot.take(
                        hasIrqfd
                                ? parts.irqfd("queue 0", level)
                                : parts.event("queue 0", event).leaveOut(level.gsi()));
                VmParts there = new VmParts(to.vm).vcpu(new VcpuId(0), to.vcpu).event("resample", here);
                to.vectors.forEach(vector -> there.leaveOut(vector.gsi()));
                assertThatThrownBy(() -> saved.restore(there.vector("queue 0", to.get(0))))
                        .as("with a level irqfd on the message: %s", hasIrqfd)
                        .isInstanceOf(SnapshotException.class)
                        .hasMessageContaining("its eventfd 'queue 0' raises no message by an edge-triggered irqfd");
            }
        }
    }

    /** The guest takes each interrupt by hand. A vector that was signalled is requested, or waits behind its mask. */
    @Test
    void randomOrdersOfSignalsMasksAndMovesLoseNothing() {
        Search.run(world + " moves", 0, PROGRAMS, this::search);
    }

    private void search(Choices random) {
        Machine at = filled();
        try {
            int next = FIRST + VECTORS;
            int[] numbers = IntStream.range(FIRST, next).toArray();
            Set<Integer> waits = new HashSet<>();
            Set<Integer> requested = new HashSet<>();
            while (random.step(STEPS)) {
                int i = random.nextInt(VECTORS);
                int what = random.nextInt(WORDS.size());
                random.note(WORDS.get(what) + " " + i);
                MaskableVector vector = at.get(i);
                switch (what) {
                    case 0, 1 -> {
                        vector.signal();
                        settle(vector);
                        waits.add(i);
                    }
                    case 2 -> vector.mask();
                    case 3 -> {
                        vector.unmask();
                        settle(vector);
                    }
                    case 4 -> {
                        numbers[i] = next++;
                        vector.reroute(message(numbers[i]));
                    }
                    case 5 -> VmSnapshot.take(at.parts());
                    case 6 -> {
                        at = moved(at, i, random);
                        waits.add(i);
                    }
                    default -> {
                        at.takeAll();
                        requested.clear();
                    }
                }
                for (int index = 0; index < VECTORS; index++) {
                    if (!at.get(index).isMasked() && waits.remove(index)) {
                        requested.add(numbers[index]);
                    }
                }
                Machine here = at;
                World.eventually("all of " + requested, () -> requested.stream().allMatch(here::isRequested));
                for (int number = FIRST - 1; number < next; number++) {
                    assertThat(at.isRequested(number)).as("vector %d", number).isEqualTo(requested.contains(number));
                }
            }
            for (int vector = 0; vector < VECTORS; vector++) {
                at.get(vector).mask();
                assertThat(at.get(vector).event().drain() != 0)
                        .as("vector %d waits", vector)
                        .isEqualTo(waits.contains(vector));
            }
        } finally {
            at.close();
        }
    }

    /** A worker of KVM may inject later, and then with a later message: a mask waits for it. */
    private static void settle(MaskableVector vector) {
        if (!vector.isMasked()) {
            vector.mask();
            vector.unmask();
        }
    }

    /** @param late the vector of a device that signals it after the snapshot was made */
    private Machine moved(Machine from, int late, Choices random) {
        List<Integer> order = new ArrayList<>(order());
        Collections.shuffle(order, new Random(random.nextLong()));
        try (Undo undo = new Undo()) {
            Machine to = undo.add(new Machine(order));
            try (VmMove move = VmMove.from(from.parts())) {
                switch (random.nextInt(3)) {
                    case 0 -> {
                        from.get(late).signal();
                        VmSnapshot.parse(move.text()).restore(to.parts());
                    }
                    case 1 -> {
                        from.get(late).signal();
                        move.into(to.parts());
                    }
                    default -> {
                        move.into(to.parts());
                        from.get(late).signal();
                    }
                }
            }
            to.vectors.forEach(VectorSnapshotContract::settle);
            from.close();
            undo.keep();
            return to;
        }
    }
}
