/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** KVM_IRQFD: virt/kvm/eventfd.c. */
@Contract
class IrqfdContract extends KernelSuite {
    private int event;

    @BeforeEach
    void setUp() {
        event = world.eventfd();
    }

    /** A vCPU that takes the vector of GSI 30. */
    private int routedVcpu() {
        assertOk(world.routeToVector(vm(), 30));
        return world.vcpuWithLapic(vm());
    }

    @Test
    void needsAnIrqchipBeforeAnythingElse() {
        world.assumeX86();
        int vm = world.bareVm();
        assertErrno(Errno.EINVAL, kernel.irqfdAssign(vm, -1, 0));
        assertErrno(Errno.EINVAL, kernel.irqfdAssign(vm, world.eventfd(), 0));
        assertOk(kernel.irqfdDeassign(vm, world.eventfd(), 0));
    }

    @Test
    void oneEventfdFeedsOneGsi() {
        assertOk(kernel.irqfdAssign(vm(), event, 10));
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm(), event, 10));
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm(), event, 11));
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm(), world.own(kernel.fdDup(event)), 11));
        assertOk(kernel.irqfdDeassign(vm(), event, 10));
        assertOk(kernel.irqfdAssign(vm(), event, 11));
    }

    @Test
    void manyAreAssignedUpToTheFirstThatIsRefused() {
        int other = world.eventfd();
        ByteBuffer irqfds = Buffers.allocate(4 * KernelBackend.IRQFD_SIZE);
        int[] fds = {event, other, event, world.eventfd()};
        for (int i = 0; i < fds.length; i++) {
            irqfds.putInt(i * KernelBackend.IRQFD_SIZE + KernelBackend.IRQFD_FD, fds[i]);
            irqfds.putInt(i * KernelBackend.IRQFD_SIZE + KernelBackend.IRQFD_GSI, 10 + i);
        }
        assertThat(kernel.irqfdsAssign(vm(), irqfds, 0)).isZero();
        assertThat(kernel.irqfdsAssign(vm(), irqfds, 4)).isEqualTo(2);
        assertErrno(Errno.EBUSY, irqfds.getInt(2 * KernelBackend.IRQFD_SIZE + KernelBackend.IRQFD_FD));
        assertThat(irqfds.getInt(3 * KernelBackend.IRQFD_SIZE + KernelBackend.IRQFD_FD))
                .isEqualTo(fds[3]);
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm(), other, 11));
        assertOk(kernel.irqfdAssign(vm(), fds[3], 13));
        assertIllegalArgument(
                () -> kernel.irqfdsAssign(vm(), irqfds, 5), "buffer has 32 bytes: this call needs at least 40");
    }

    @Test
    void deassignNeverFailsForAnEventfd() {
        assertOk(kernel.irqfdDeassign(vm(), event, 10));
        assertOk(kernel.irqfdAssign(vm(), event, 10));
        assertOk(kernel.irqfdDeassign(vm(), event, 11));
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm(), event, 10));
        assertOk(kernel.irqfdDeassign(vm(), event, 10));
        assertOk(kernel.irqfdDeassign(vm(), event, 10));
        assertErrno(Errno.EBADF, kernel.irqfdDeassign(vm(), -1, 10));
        assertErrno(Errno.EINVAL, kernel.irqfdDeassign(vm(), world.epollFd(), 10));
    }

    @Test
    void descriptorsMustBeEventfds() {
        assertErrno(Errno.EBADF, kernel.irqfdAssign(vm(), -1, 10));
        assertErrno(Errno.EINVAL, kernel.irqfdAssign(vm(), world.epollFd(), 10));
    }

    @Test
    void failedAssignLeavesTheEventfdFree() {
        assertErrno(Errno.EBADF, kernel.irqfdAssignLevel(vm(), event, -1, 10));
        assertErrno(Errno.EINVAL, kernel.irqfdAssignLevel(vm(), event, world.epollFd(), 10));
        assertOk(kernel.irqfdAssign(vm(), event, 10));
    }

    @Test
    void gsiIsNeverChecked() {
        assertOk(kernel.irqfdAssign(vm(), event, -1));
        assertOk(kernel.irqfdDeassign(vm(), event, -1));
    }

    @Test
    void resampleNeedsTheFullIrqchip() {
        int split = world.splitVm();
        assertErrno(Errno.EINVAL, kernel.irqfdAssignLevel(split, world.eventfd(), world.eventfd(), 5));
        assertOk(kernel.irqfdAssign(split, world.eventfd(), 5));
    }

    @Test
    void levelIrqfdsShareAGsiAndAResamplefd() {
        int resample = world.eventfd();
        assertOk(kernel.irqfdAssignLevel(vm(), event, resample, 5));
        assertOk(kernel.irqfdAssignLevel(vm(), world.eventfd(), resample, 5));
        assertOk(kernel.irqfdDeassign(vm(), event, 5));
        assertOk(kernel.irqfdAssign(vm(), event, 5));
    }

    @Test
    void signalReachesTheLapicAndIsConsumed() {
        int vcpu = routedVcpu();
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        assertOk(kernel.eventfdSignal(event, 5));
        eventually("the vector is requested", () -> world.requested(vcpu, VECTOR));
        assertThat(world.drain(event)).isZero();
    }

    @Test
    void signalWithoutRouteIsLostForEver() {
        int vcpu = world.vcpuWithLapic(vm());
        int marker = world.eventfd();
        assertOk(world.setMsiRoutes(vm()));
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        assertOk(kernel.irqfdAssign(vm(), marker, 31));
        assertOk(kernel.eventfdSignal(event, 1));
        assertThat(world.drain(event)).isZero();
        // A worker looks the route up: deassigning waits for it, so that it cannot find the one set next.
        assertOk(kernel.irqfdDeassign(vm(), event, 30));
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        assertOk(world.setMsiRoutes(
                vm(), new MsiRoute(30, MSI_ADDRESS, VECTOR, 0), new MsiRoute(31, MSI_ADDRESS, 0x40, 0)));
        assertOk(kernel.eventfdSignal(marker, 1));
        eventually("the marker is requested", () -> world.requested(vcpu, 0x40));
        assertThat(world.requested(vcpu, VECTOR)).isFalse();
    }

    @Test
    void preSignalledEventfdInjectsOnceAndKeepsItsCount() {
        int vcpu = routedVcpu();
        assertOk(kernel.eventfdSignal(event, 3));
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        eventually("the vector is requested", () -> world.requested(vcpu, VECTOR));
        assertThat(world.drain(event)).isEqualTo(3);
    }

    @Test
    void signalWhileDeassignedArrivesAtTheNextAssign() {
        int vcpu = routedVcpu();
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        assertOk(kernel.irqfdDeassign(vm(), event, 30));
        assertOk(kernel.eventfdSignal(event, 1));
        assertThat(world.requested(vcpu, VECTOR)).isFalse();
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        eventually("the vector is requested", () -> world.requested(vcpu, VECTOR));
    }

    @Test
    void irqfdLivesAsLongAsAnyDescriptorOfItsEventfd() {
        int keeper = world.own(kernel.fdDup(event));
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        world.close(event);
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm(), keeper, 31));
    }

    /** The level of a pin that only this irqfd held high shows whether the irqfd is left. */
    @Test
    void closingTheLastDescriptorDetachesTheIrqfd() {
        assertOk(kernel.irqfdAssignLevel(vm(), event, world.eventfd(), 5));
        assertOk(kernel.eventfdSignal(event, 1));
        eventually("pin 5 is high", () -> world.ioapicLine(vm(), 5));
        world.close(event);
        eventually("pin 5 is low again", () -> !world.ioapicLine(vm(), 5));
    }

    /** Host-wide since 6.17; before, within a VM, and the first VM takes every signal. */
    @Test
    void eventfdOfAnotherVmIsBusyOrTheOtherTakesItsSignals() {
        int vm = world.fullVm();
        int other = world.fullVm();
        int vcpu = world.vcpuWithLapic(vm);
        int deafVcpu = world.vcpuWithLapic(other);
        assertOk(world.routeToVector(vm, 30));
        assertOk(world.routeToVector(other, 30));
        assertOk(kernel.irqfdAssign(vm, event, 30));
        int result = kernel.irqfdAssign(other, event, 30);
        if (world.isSince(6, 17)) {
            assertErrno(Errno.EBUSY, result);
            return;
        }
        assertOk(result);
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(other, event, 31));
        assertOk(kernel.eventfdSignal(event, 1));
        eventually("the first VM has the vector", () -> world.requested(vcpu, VECTOR));
        assertOk(kernel.irqfdDeassign(other, event, 30));
        assertThat(world.requested(deafVcpu, VECTOR)).isFalse();
        assertThat(world.drain(event)).isZero();
    }

    // The order of checks

    private static final int DEASSIGN = Uapi.KVM_IRQFD_FLAG_DEASSIGN;
    private static final int UNKNOWN_FLAG = 4;

    @Test
    void flagsAreCheckedBeforeAnythingElse() {
        int bare = world.bareVm();
        assertErrno(Errno.EINVAL, world.irqfd(bare, -1, 10, UNKNOWN_FLAG, 0));
        assertErrno(Errno.EINVAL, world.irqfd(vm(), -1, 10, UNKNOWN_FLAG, 0));
        assertErrno(Errno.EINVAL, world.irqfd(vm(), -1, 10, UNKNOWN_FLAG | DEASSIGN, 0));
        assertErrno(Errno.EINVAL, world.irqfd(vm(), world.eventfd(), 10, 1 << 31, 0));
        assertErrno(Errno.EBADF, world.irqfd(vm(), -1, 10, DEASSIGN, 0));
    }

    @Test
    void deassignAsksForNoIrqchipButForAnEventfd() {
        int vm = world.bareVm();
        assertErrno(Errno.EBADF, kernel.irqfdDeassign(vm, -1, 10));
        assertErrno(Errno.EINVAL, kernel.irqfdDeassign(vm, world.epollFd(), 10));
        assertOk(kernel.irqfdDeassign(vm, world.eventfd(), -1));
    }

    @Test
    void paddingIsIgnored() {
        assertOk(world.irqfd(vm(), event, 10, 0, 1 << 20));
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm(), event, 10));
        assertOk(world.irqfd(vm(), event, 10, DEASSIGN, 1 << 20));
        assertOk(kernel.irqfdAssign(vm(), event, 10));
    }

    @Test
    void failedAssignOfABusyEventfdLeavesTheFirst() {
        int vcpu = routedVcpu();
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm(), event, 31));
        assertOk(kernel.irqfdDeassign(vm(), event, 31));
        assertOk(kernel.eventfdSignal(event, 1));
        eventually("the vector is requested", () -> world.requested(vcpu, VECTOR));
    }

    // Identity

    /** As the kernel's own irqfd_test has it. */
    @Test
    void deassignOfGsisNeverAssignedSucceedsInEitherVm() {
        int other = world.fullVm();
        assertOk(kernel.irqfdAssign(vm(), event, 10));
        for (int gsi = 11; gsi <= 14; gsi++) {
            assertOk(kernel.irqfdDeassign(vm(), event, gsi));
            assertOk(kernel.irqfdDeassign(other, event, gsi));
        }
        assertOk(kernel.irqfdDeassign(other, event, 10));
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm(), event, 11));
        assertOk(kernel.irqfdDeassign(vm(), event, 10));
        assertOk(kernel.irqfdAssign(other, event, 11));
    }

    // The counter

    @Test
    void readerAndWaiterSeeNothingWhileAssigned() {
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        assertOk(kernel.eventfdSignal(event, 7));
        assertThat(kernel.fdWait(event, -1, 0)).isZero();
        assertErrno(Errno.EAGAIN, kernel.eventfdDrain(event, Buffers.allocate(8)));
        assertOk(kernel.irqfdDeassign(vm(), event, 30));
        assertOk(kernel.eventfdSignal(event, 3));
        assertThat(kernel.fdWait(event, -1, 0)).isEqualTo(KernelBackend.READY_FD);
        assertThat(world.drain(event)).isEqualTo(3);
    }

    @Test
    void semaphoreIsTakenOneAtATimeByTheKernelToo() {
        int event = world.own(kernel.eventfdCreateSemaphore());
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        assertOk(kernel.eventfdSignal(event, 5));
        assertOk(kernel.irqfdDeassign(vm(), event, 30));
        int left = 0;
        while (world.drain(event) == 1) {
            left++;
        }
        // One went with the signal, another with the deassign.
        assertThat(left).isEqualTo(3);
    }

    @Test
    void countFromBeforeIsDrainedByTheDeassignAndNotInjectedAgain() {
        int vcpu = routedVcpu();
        assertOk(kernel.eventfdSignal(event, 3));
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        eventually("the vector is requested", () -> world.requested(vcpu, VECTOR));
        assertOk(kernel.irqfdDeassign(vm(), event, 30));
        assertThat(world.drain(event)).isZero();
        world.forget(vcpu);
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        assertOk(kernel.irqfdDeassign(vm(), event, 30));
        assertThat(world.requested(vcpu, VECTOR)).isFalse();
    }

    @Test
    void countFromBeforeGoesWithTheNextSignal() {
        int vcpu = routedVcpu();
        assertOk(kernel.eventfdSignal(event, 3));
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        eventually("the vector is requested", () -> world.requested(vcpu, VECTOR));
        world.forget(vcpu);
        assertOk(kernel.eventfdSignal(event, 1));
        eventually("the vector is requested again", () -> world.requested(vcpu, VECTOR));
        assertThat(world.drain(event)).isZero();
    }

    // Delivery

    @Test
    void manySignalsThatNobodyTookAreOneInterrupt() {
        assertOk(world.routeToVector(vm(), 30));
        RealModeGuest guest = RealModeGuest.answering(world, vm());
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        for (int i = 0; i < 1000; i++) {
            assertOk(kernel.eventfdSignal(event, 1));
        }
        assertOk(kernel.irqfdDeassign(vm(), event, 30));
        guest.runTo(RealModeGuest.IN_SERVICE);
        assertThat(world.requested(guest.vcpu(), VECTOR)).isFalse();
        guest.runTo(RealModeGuest.ENDED);
        assertThat(world.requested(guest.vcpu(), VECTOR)).isFalse();
    }

    @Test
    void eachEventfdOfAGsiInjects() {
        int vcpu = world.vcpuWithLapic(vm());
        int[] events = {world.eventfd(), world.eventfd()};
        assertOk(world.routeToVector(vm(), 30));
        for (int event : events) {
            assertOk(kernel.irqfdAssign(vm(), event, 30));
        }
        for (int event : events) {
            world.forget(vcpu);
            assertOk(kernel.eventfdSignal(event, 1));
            eventually("the vector is requested", () -> world.requested(vcpu, VECTOR));
        }
    }

    @Test
    void changedRouteCountsForIrqfdsThatAreThere() {
        int vcpu = routedVcpu();
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        assertOk(world.setMsiRoutes(vm(), new MsiRoute(30, MSI_ADDRESS, 0x40, 0)));
        assertOk(kernel.eventfdSignal(event, 1));
        eventually("the new vector is requested", () -> world.requested(vcpu, 0x40));
        assertThat(world.requested(vcpu, VECTOR)).isFalse();
    }

    @Test
    void routeThatComesAfterTheAssignCounts() {
        int vcpu = world.vcpuWithLapic(vm());
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        assertOk(world.routeToVector(vm(), 30));
        assertOk(kernel.eventfdSignal(event, 1));
        eventually("the vector is requested", () -> world.requested(vcpu, VECTOR));
    }

    @Test
    void pinIsPulsed() {
        int vcpu = world.vcpuWithLapic(vm());
        world.redirect(vm(), 20, VECTOR);
        assertOk(kernel.irqfdAssign(vm(), event, 20));
        assertOk(kernel.eventfdSignal(event, 1));
        assertOk(kernel.irqfdDeassign(vm(), event, 20));
        assertThat(world.requested(vcpu, VECTOR)).isTrue();
        assertThat(world.ioapicLine(vm(), 20)).isFalse();
    }

    /** Source 0 is userspace's and that of plain irqfds: the end of the pulse lowers what userspace raised. */
    @Test
    void plainIrqfdAndUserspaceAreOneSource() {
        assertOk(kernel.lineSet(vm(), 20, 1));
        assertThat(world.ioapicLine(vm(), 20)).isTrue();
        assertOk(kernel.irqfdAssign(vm(), event, 20));
        assertOk(kernel.eventfdSignal(event, 1));
        assertOk(kernel.irqfdDeassign(vm(), event, 20));
        assertThat(world.ioapicLine(vm(), 20)).isFalse();
    }

    @Test
    void splitIrqchipTakesMessages() {
        int vm = world.splitVm();
        int vcpu = world.vcpuWithLapic(vm);
        assertOk(world.routeToVector(vm, 3));
        assertOk(kernel.irqfdAssign(vm, event, 3));
        assertOk(kernel.eventfdSignal(event, 1));
        eventually("the vector is requested", () -> world.requested(vcpu, VECTOR));
    }
}
