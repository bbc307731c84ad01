/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.eventually;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.Faults;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Warnings;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.assertj.core.api.InstanceOfAssertFactories;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** An eventfd, its irqfd and the route in one: virt/kvm/eventfd.c and irqchip.c. */
@Contract
class MaskableVectorContract {
    private static final MsiMessage FIRST = message(World.VECTOR);
    private static final int OTHER_VECTOR = World.VECTOR + 1;
    private static final MsiMessage OTHER = message(OTHER_VECTOR);

    private final World world;
    private final Faults faults = new Faults();
    private final Kernel kernel;
    private final int vmNumber;
    private final Vm vm;
    private final int vcpu;

    MaskableVectorContract(World world) {
        this.world = world;
        this.kernel = Kernel.over(faults.over(world.kernel()));
        this.vmNumber = world.fullVm();
        this.vm = Vm.adopt(kernel, vmNumber, Ownership.BORROWED, List.of(), new Gsi(24));
        this.vcpu = world.vcpuWithLapic(vmNumber);
    }

    @AfterEach
    void close() {
        faults.clear();
        vm.close();
        kernel.close();
        world.closeAll();
    }

    private static MsiMessage message(int vector) {
        return MsiMessage.to(new VcpuId(0), new InterruptVector(vector));
    }

    private void arrives(int vector) {
        eventually("vector " + vector + " is requested", () -> world.requested(vcpu, vector));
    }

    @Test
    void signalArrivesAndAMaskedOneWaits() {
        try (MaskableVector vector = MaskableVector.create(vm, FIRST)) {
            vector.signal();
            arrives(World.VECTOR);
            world.forget(vcpu);
            vector.mask();
            assertThat(vector.isMasked()).isTrue();
            vector.signal();
            vector.signal();
            assertThat(world.requested(vcpu, World.VECTOR)).isFalse();
            vector.unmask();
            arrives(World.VECTOR);
        }
    }

    @Test
    void secondCloseLeavesTheGsiToItsNextOwner() {
        MaskableVector first = MaskableVector.create(vm, FIRST);
        first.close();
        try (MaskableVector second = MaskableVector.create(vm, OTHER)) {
            assertThat(second.gsi()).isEqualTo(first.gsi());
            first.close();
            second.signal();
            arrives(OTHER_VECTOR);
        }
    }

    /** The kernel wakes the irqfd at a write of 0, so the library makes no call. */
    @Test
    void signalOfNothingRaisesNothingExceptThroughTheBackend() {
        try (MaskableVector vector = MaskableVector.create(vm, FIRST);
                EventFd from = EventFd.create(kernel)) {
            vector.event().signal(from.drain());
            vector.mask(); // waits for an injection
            assertThat(world.requested(vcpu, World.VECTOR)).isFalse();
            vector.unmask();
            try (Fd.Lease event = vector.event().fd().lease()) {
                World.assertOk(world.kernel().eventfdSignal(event.number(), 0));
            }
            arrives(World.VECTOR);
        }
    }

    @Test
    void interruptThatWaitsTakesTheNewMessage() {
        try (MaskableVector vector = MaskableVector.create(vm, FIRST)) {
            vector.mask();
            vector.signal();
            vector.reroute(OTHER);
            vector.unmask();
            arrives(OTHER_VECTOR);
            assertThat(world.requested(vcpu, World.VECTOR)).isFalse();
            assertThat(vector.message()).isEqualTo(OTHER);
            assertThat(vm.routes().of(vector.gsi())).containsExactly(new Route.Msi(vector.gsi(), OTHER));
        }
    }

    @Test
    void refusedRouteLeavesTheMessage() {
        try (MaskableVector vector = MaskableVector.create(vm, FIRST)) {
            faults.fail("routesSet", 1, Errno.ENOMEM);
            refused(Errno.ENOMEM, () -> vector.reroute(OTHER));
            assertThat(vector.message()).isEqualTo(FIRST);
            vector.signal();
            arrives(World.VECTOR);
        }
    }

    @Test
    void refusedMoveLeavesEachMaskAndGsi() {
        List<MaskableVector> vectors = MaskableVector.createAll(vm, List.of(FIRST, FIRST));
        vectors.get(1).mask();
        List<Route.Msi> to = List.of(new Route.Msi(new Gsi(30), OTHER), new Route.Msi(new Gsi(31), OTHER));
        faults.fail("routesSet", 1, Errno.ENOMEM);
        refused(Errno.ENOMEM, () -> MaskableVector.moveAll(vectors, to));
        assertThat(vectors).extracting(MaskableVector::isMasked).containsExactly(false, true);
        assertThat(vectors).extracting(MaskableVector::gsi).containsExactly(new Gsi(24), new Gsi(25));
        vectors.get(0).signal();
        arrives(World.VECTOR);
        MaskableVector.closeAll(vectors);
    }

    @Test
    void moveLeavesNoRouteOfBefore() {
        List<MaskableVector> vectors = MaskableVector.createAll(vm, List.of(FIRST, FIRST));
        List<Route.Msi> to = List.of(new Route.Msi(new Gsi(25), OTHER), new Route.Msi(new Gsi(31), OTHER));
        MaskableVector.moveAll(vectors, to);
        assertThat(vm.routes().routes()).hasSameElementsAs(to);
        MaskableVector.closeAll(vectors);
    }

    @Test
    void manyTakeOneCommitAndCloseLeavesNothing() {
        List<MaskableVector> vectors = MaskableVector.createAll(vm, Collections.nCopies(64, FIRST));
        assertThat(vm.routes().commits()).isEqualTo(1);
        assertThat(vectors).extracting(MaskableVector::gsi).doesNotHaveDuplicates();
        vectors.forEach(MaskableVector::close);
        vectors.forEach(MaskableVector::close);
        assertThat(vm.routes().routes()).isEmpty();
        assertThat(kernel.openHandles()).containsExactly(vm.toString());
        MaskableVector closed = vectors.get(0);
        assertThatThrownBy(closed::signal).isInstanceOf(ClosedHandleException.class);
        assertThatThrownBy(closed::mask).isInstanceOf(IllegalStateException.class);
        assertThatThrownBy(() -> closed.reroute(OTHER)).isInstanceOf(IllegalStateException.class);
    }

    @Test
    void manyCloseInOneCommitOfEachVm() {
        try (Vm other = Vm.adopt(kernel, world.fullVm(), Ownership.OWNED, List.of(), new Gsi(24))) {
            List<MaskableVector> vectors =
                    new ArrayList<>(MaskableVector.createAll(vm, Collections.nCopies(64, FIRST)));
            vectors.addAll(MaskableVector.createAll(other, Collections.nCopies(3, FIRST)));
            vectors.get(1).mask();
            vectors.get(2).close();
            long before = vm.routes().commits();
            MaskableVector.closeAll(vectors);
            MaskableVector.closeAll(vectors);
            assertThat(vm.routes().commits()).isEqualTo(before + 1);
            assertThat(other.routes().commits()).isEqualTo(2);
            assertThat(vm.routes().routes()).isEmpty();
            assertThat(other.routes().routes()).isEmpty();
            assertThatThrownBy(vectors.get(0)::signal).isInstanceOf(ClosedHandleException.class);
            assertThatThrownBy(() -> vectors.get(0).reroute(OTHER)).isInstanceOf(ClosedHandleException.class);
            try (MaskableVector next = MaskableVector.create(vm, FIRST)) {
                assertThat(next.gsi()).isEqualTo(new Gsi(24));
            }
        }
        assertThatThrownBy(() -> MaskableVector.closeAll(Collections.singletonList(null)))
                .hasMessage("vectors contains null: pass vectors");
    }

    @Test
    void manyAreReroutedInOneCommitOrNone() {
        List<MaskableVector> vectors = MaskableVector.createAll(vm, List.of(FIRST, FIRST, FIRST));
        List<MsiMessage> others = Collections.nCopies(3, OTHER);
        MaskableVector.rerouteAll(vectors, others);
        assertThat(vm.routes().commits()).isEqualTo(2);
        assertThat(vectors).extracting(MaskableVector::message).containsOnly(OTHER);
        vectors.get(0).signal();
        arrives(OTHER_VECTOR);
        faults.fail("routesSet", 1, Errno.ENOMEM);
        List<MsiMessage> firsts = Collections.nCopies(3, FIRST);
        refused(Errno.ENOMEM, () -> MaskableVector.rerouteAll(vectors, firsts));
        vectors.get(1).close();
        assertThatThrownBy(() -> MaskableVector.rerouteAll(vectors, firsts)).isInstanceOf(ClosedHandleException.class);
        assertThat(vm.routes().of(vectors.get(1).gsi())).isEmpty();
        try (Vm other = Vm.adopt(kernel, world.fullVm(), Ownership.OWNED, List.of(), new Gsi(24));
                MaskableVector stranger = MaskableVector.create(other, FIRST)) {
            List<MaskableVector> mixed = List.of(vectors.get(0), stranger);
            assertThatThrownBy(() -> MaskableVector.rerouteAll(mixed, List.of(FIRST, OTHER)))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage(stranger + " is of " + other + ", and another vector is of " + vm
                            + ": pass the vectors of one VM");
        }
        assertThat(vectors).extracting(MaskableVector::message).containsOnly(OTHER);
        MaskableVector.closeAll(vectors);
        assertThat(vm.routes().routes()).isEmpty();
    }

    /** A vector that another thread closes meanwhile has no route after it. */
    @Test
    void rerouteAndCloseOfAnotherThreadLeaveNoRoute() throws InterruptedException {
        for (int i = 0; i < 50; i++) {
            List<MaskableVector> vectors = MaskableVector.createAll(vm, List.of(FIRST, FIRST));
            List<MaskableVector> turned = List.of(vectors.get(1), vectors.get(0));
            List<Thread> threads = List.of(
                    new Thread(() -> rerouteUntilClosed(vectors)),
                    new Thread(() -> rerouteUntilClosed(turned)),
                    new Thread(() -> vectors.forEach(MaskableVector::close)));
            threads.forEach(Thread::start);
            for (Thread thread : threads) {
                thread.join();
            }
            assertThat(vm.routes().routes()).isEmpty();
        }
    }

    private static void rerouteUntilClosed(List<MaskableVector> vectors) {
        try {
            for (int i = 0; ; i++) {
                MaskableVector.rerouteAll(vectors, Collections.nCopies(2, i % 2 == 0 ? OTHER : FIRST));
            }
        } catch (ClosedHandleException e) {
            // the third thread came first
        }
    }

    @Test
    void refusedIrqfdLeavesNeitherRouteNorEventfd() {
        faults.fail("irqfdAssign", 1, Errno.ENOMEM);
        refused(Errno.ENOMEM, () -> MaskableVector.create(vm, FIRST));
        assertThat(vm.routes().routes()).isEmpty();
        assertThat(kernel.openHandles()).containsExactly(vm.toString());
    }

    @Test
    void closeWithinAChangeLeavesTheRouteAlone() {
        MaskableVector vector = MaskableVector.create(vm, FIRST);
        List<String> said = Warnings.of(() -> vm.routes().edit(edit -> vector.close()));
        assertThat(said)
                .singleElement(InstanceOfAssertFactories.STRING)
                .startsWith("the routes of [" + vector.gsi() + "] of " + vm + " stay without their irqfds: ");
        assertThat(kernel.openHandles()).containsExactly(vm.toString());
        assertThat(vm.routes().of(vector.gsi())).hasSize(1);
        vm.routes().remove(vector.gsi());
    }

    @Test
    void vectorClosesAfterItsVm() {
        MaskableVector vector = MaskableVector.create(vm, FIRST);
        vm.close();
        vector.close();
        assertThat(kernel.openHandles()).isEmpty();
    }
}
