/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.KernelBackend;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** KVM_IRQFD: virt/kvm/eventfd.c. */
@Contract
class IrqfdContract {
    private final World world;
    private final KernelBackend kernel;

    IrqfdContract(World world) {
        this.world = world;
        this.kernel = world.kernel();
    }

    @AfterEach
    void close() {
        world.closeAll();
    }

    @Test
    void needsAnIrqchipBeforeAnythingElse() {
        int vm = world.bareVm();
        assertErrno(Errno.EINVAL, kernel.irqfdAssign(vm, -1, 0));
        assertErrno(Errno.EINVAL, kernel.irqfdAssign(vm, world.eventfd(), 0));
        assertOk(kernel.irqfdDeassign(vm, world.eventfd(), 0));
    }

    @Test
    void oneEventfdFeedsOneGsi() {
        int vm = world.fullVm();
        int event = world.eventfd();
        assertOk(kernel.irqfdAssign(vm, event, 10));
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm, event, 10));
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm, event, 11));
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm, world.own(kernel.fdDup(event)), 11));
        assertOk(kernel.irqfdDeassign(vm, event, 10));
        assertOk(kernel.irqfdAssign(vm, event, 11));
    }

    @Test
    void manyEventfdsFeedOneGsi() {
        int vm = world.fullVm();
        assertOk(kernel.irqfdAssign(vm, world.eventfd(), 10));
        assertOk(kernel.irqfdAssign(vm, world.eventfd(), 10));
    }

    @Test
    void deassignNeverFailsForAnEventfd() {
        int vm = world.fullVm();
        int event = world.eventfd();
        assertOk(kernel.irqfdDeassign(vm, event, 10));
        assertOk(kernel.irqfdAssign(vm, event, 10));
        assertOk(kernel.irqfdDeassign(vm, event, 11));
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm, event, 10));
        assertOk(kernel.irqfdDeassign(vm, event, 10));
        assertOk(kernel.irqfdDeassign(vm, event, 10));
        assertErrno(Errno.EBADF, kernel.irqfdDeassign(vm, -1, 10));
        assertErrno(Errno.EINVAL, kernel.irqfdDeassign(vm, world.pipeLike(), 10));
    }

    @Test
    void descriptorsMustBeEventfds() {
        int vm = world.fullVm();
        assertErrno(Errno.EBADF, kernel.irqfdAssign(vm, -1, 10));
        assertErrno(Errno.EINVAL, kernel.irqfdAssign(vm, world.pipeLike(), 10));
    }

    @Test
    void failedAssignLeavesTheEventfdFree() {
        int vm = world.fullVm();
        int event = world.eventfd();
        assertErrno(Errno.EBADF, kernel.irqfdAssignLevel(vm, event, -1, 10));
        assertErrno(Errno.EINVAL, kernel.irqfdAssignLevel(vm, event, world.pipeLike(), 10));
        assertOk(kernel.irqfdAssign(vm, event, 10));
    }

    @Test
    void gsiIsNeverChecked() {
        int vm = world.fullVm();
        int event = world.eventfd();
        assertOk(kernel.irqfdAssign(vm, event, -1));
        assertOk(kernel.irqfdDeassign(vm, event, -1));
    }

    @Test
    void resampleNeedsTheFullIrqchip() {
        int split = world.splitVm();
        assertErrno(Errno.EINVAL, kernel.irqfdAssignLevel(split, world.eventfd(), world.eventfd(), 5));
        assertOk(kernel.irqfdAssign(split, world.eventfd(), 5));
    }

    @Test
    void levelIrqfdsShareAGsiAndAResamplefd() {
        int vm = world.fullVm();
        int resample = world.eventfd();
        int event = world.eventfd();
        assertOk(kernel.irqfdAssignLevel(vm, event, resample, 5));
        assertOk(kernel.irqfdAssignLevel(vm, world.eventfd(), resample, 5));
        assertOk(kernel.irqfdDeassign(vm, event, 5));
        assertOk(kernel.irqfdAssign(vm, event, 5));
    }

    @Test
    void signalReachesTheLapicAndIsConsumed() {
        int vm = world.fullVm();
        int vcpu = world.vcpuWithLapic(vm);
        int event = world.eventfd();
        assertOk(world.routeToVector(vm, 30));
        assertOk(kernel.irqfdAssign(vm, event, 30));
        assertOk(kernel.eventfdSignal(event, 5));
        eventually("the vector is requested", () -> world.requested(vcpu, VECTOR));
        assertThat(world.drain(event)).isZero();
    }

    @Test
    void signalWithoutRouteIsLostForEver() {
        int vm = world.fullVm();
        int vcpu = world.vcpuWithLapic(vm);
        int event = world.eventfd();
        int marker = world.eventfd();
        assertOk(world.setMsiRoutes(vm));
        assertOk(kernel.irqfdAssign(vm, event, 30));
        assertOk(kernel.irqfdAssign(vm, marker, 31));
        assertOk(kernel.eventfdSignal(event, 1));
        assertThat(world.drain(event)).isZero();
        // A worker looks the route up: deassigning waits for it, so that it cannot find the one set next.
        assertOk(kernel.irqfdDeassign(vm, event, 30));
        assertOk(kernel.irqfdAssign(vm, event, 30));
        assertOk(world.setMsiRoutes(
                vm, new MsiRoute(30, MSI_ADDRESS, VECTOR, 0), new MsiRoute(31, MSI_ADDRESS, 0x40, 0)));
        assertOk(kernel.eventfdSignal(marker, 1));
        eventually("the marker is requested", () -> world.requested(vcpu, 0x40));
        assertThat(world.requested(vcpu, VECTOR)).isFalse();
    }

    @Test
    void preSignalledEventfdInjectsOnceAndKeepsItsCount() {
        int vm = world.fullVm();
        int vcpu = world.vcpuWithLapic(vm);
        int event = world.eventfd();
        assertOk(world.routeToVector(vm, 30));
        assertOk(kernel.eventfdSignal(event, 3));
        assertOk(kernel.irqfdAssign(vm, event, 30));
        eventually("the vector is requested", () -> world.requested(vcpu, VECTOR));
        assertThat(world.drain(event)).isEqualTo(3);
    }

    @Test
    void signalWhileDeassignedArrivesAtTheNextAssign() {
        int vm = world.fullVm();
        int vcpu = world.vcpuWithLapic(vm);
        int event = world.eventfd();
        assertOk(world.routeToVector(vm, 30));
        assertOk(kernel.irqfdAssign(vm, event, 30));
        assertOk(kernel.irqfdDeassign(vm, event, 30));
        assertOk(kernel.eventfdSignal(event, 1));
        assertThat(world.requested(vcpu, VECTOR)).isFalse();
        assertOk(kernel.irqfdAssign(vm, event, 30));
        eventually("the vector is requested", () -> world.requested(vcpu, VECTOR));
    }

    @Test
    void irqfdLivesAsLongAsAnyDescriptorOfItsEventfd() {
        int vm = world.fullVm();
        int event = world.eventfd();
        int keeper = world.own(kernel.fdDup(event));
        assertOk(kernel.irqfdAssign(vm, event, 30));
        world.close(event);
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm, keeper, 31));
    }

    /** What is left of it shows in the level of a pin that only this irqfd held high. */
    @Test
    void closingTheLastDescriptorDetachesTheIrqfd() {
        int vm = world.fullVm();
        int event = world.eventfd();
        assertOk(kernel.irqfdAssignLevel(vm, event, world.eventfd(), 5));
        assertOk(kernel.eventfdSignal(event, 1));
        eventually("pin 5 is high", () -> world.ioapicLine(vm, 5));
        world.close(event);
        eventually("pin 5 is low again", () -> !world.ioapicLine(vm, 5));
    }

    @Test
    void closingTheVmFreesItsEventfds() {
        int vm = world.fullVm();
        int event = world.eventfd();
        assertOk(kernel.irqfdAssign(vm, event, 30));
        world.close(vm);
        assertOk(kernel.irqfdAssign(world.fullVm(), event, 30));
    }

    @Test
    void vcpuDoesNotKeepIrqfdsOfAClosedVm() {
        int vm = world.fullVm();
        world.vcpu(vm, 0);
        int event = world.eventfd();
        assertOk(kernel.irqfdAssign(vm, event, 30));
        world.close(vm);
        assertOk(kernel.irqfdAssign(world.fullVm(), event, 30));
    }

    /** Host-wide since 6.17; before, within a VM, and the first VM takes every signal. */
    @Test
    void eventfdOfAnotherVmIsBusyOrTheOtherTakesItsSignals() {
        int one = world.fullVm();
        int other = world.fullVm();
        int event = world.eventfd();
        int vcpu = world.vcpuWithLapic(one);
        int deafVcpu = world.vcpuWithLapic(other);
        assertOk(world.routeToVector(one, 30));
        assertOk(world.routeToVector(other, 30));
        assertOk(kernel.irqfdAssign(one, event, 30));
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
}
