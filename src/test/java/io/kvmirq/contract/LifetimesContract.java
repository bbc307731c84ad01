/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** Lifetimes of files, of the references they hold, and of registrations: virt/kvm/kvm_main.c, eventfd.c. */
@Contract
class LifetimesContract extends KernelSuite {
    private static final int PIO = KernelBackend.IOEVENTFD_PIO;
    private static final long PORT = 0x80;
    private static final String WRITES = asm("mov eax, 0x7; out 0x80, al; out 0x81, al");

    /** Whether an eventfd is free to feed a GSI; it is again afterwards. */
    private void assertFree(int event) {
        int vm = world.fullVm();
        assertOk(kernel.irqfdAssign(vm, event, 10));
        assertOk(kernel.irqfdDeassign(vm, event, 10));
    }

    // The VM's file

    @Test
    void anyDescriptorOfTheVmKeepsItsIrqfds() {
        int duplicate = world.own(kernel.fdDup(vm()));
        int event = world.eventfd();
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        world.close(vm());
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(duplicate, event, 31));
        world.close(duplicate);
        assertFree(event);
    }

    @Test
    void whatWasMadeFromAVmDoesNotKeepItsIrqfds() {
        world.vcpu(vm(), 0);
        world.own(kernel.deviceCreate(vm(), Uapi.KVM_DEV_TYPE_VFIO));
        int event = world.eventfd();
        int leveled = world.eventfd();
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        assertOk(kernel.irqfdAssignLevel(vm(), leveled, world.eventfd(), 5));
        world.close(vm());
        assertFree(event);
        assertFree(leveled);
    }

    @Test
    void signalsAfterTheVmIsClosedStayInTheCounter() {
        world.vcpu(vm(), 0);
        int event = world.eventfd();
        assertOk(world.routeToVector(vm(), 30));
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        world.close(vm());
        assertOk(kernel.eventfdSignal(event, 4));
        assertThat(world.drain(event)).isEqualTo(4);
    }

    @Test
    void closingTheVmTellsNoResamplefd() {
        int event = world.eventfd();
        int resample = world.eventfd();
        assertOk(kernel.irqfdAssignLevel(vm(), event, resample, 5));
        assertOk(kernel.eventfdSignal(event, 1));
        eventually("pin 5 is high", () -> world.ioapicLine(vm(), 5));
        world.close(vm());
        assertThat(world.drain(resample)).isZero();
    }

    @Test
    void vcpuOutlivesTheFileOfItsVm() {
        int vcpu = world.vcpuWithLapic(vm());
        assertThat(kernel.msiSignal(vm(), MSI_ADDRESS, VECTOR, 0, 0)).isEqualTo(1);
        world.close(vm());
        assertThat(world.requested(vcpu, VECTOR)).isTrue();
        world.forget(vcpu);
        assertThat(world.requested(vcpu, VECTOR)).isFalse();
    }

    @Test
    void deviceOutlivesTheFileOfItsVm() {
        int vm = world.bareVm();
        int device = world.own(kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
        world.close(vm);
        assertOk(kernel.deviceAttrHas(device, Uapi.KVM_DEV_VFIO_FILE, Uapi.KVM_DEV_VFIO_FILE_ADD));
        assertErrno(Errno.ENOENT, kernel.deviceVfioRemove(device, world.eventfd()));
    }

    @Test
    void anyDescriptorOfADeviceKeepsIt() {
        int vm = world.bareVm();
        int device = world.own(kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
        int duplicate = world.own(kernel.fdDup(device));
        world.close(device);
        assertErrno(Errno.EBUSY, kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
        assertOk(kernel.deviceAttrHas(duplicate, Uapi.KVM_DEV_VFIO_FILE, Uapi.KVM_DEV_VFIO_FILE_ADD));
        world.close(duplicate);
        world.own(kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
    }

    @Test
    void vmOutlivesTheDeviceNodeItCameFrom() {
        int kvm = world.kvm();
        int vm = world.own(world.createVm(kvm));
        world.close(kvm);
        world.createFullIrqchip(vm);
        world.vcpu(vm, 0);
    }

    @Test
    void memoryOfAVcpuOutlivesItsDescriptors() {
        int vcpu = world.vcpu(vm(), 0);
        ByteBuffer run = libc.view(world.map(3 * PAGE, vcpu), PAGE);
        world.close(vcpu);
        world.close(vm());
        run.put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1);
        assertThat(run.get(Uapi.KvmRun.IMMEDIATE_EXIT)).isEqualTo((byte) 1);
    }

    @Test
    void closedVcpuIsStillThereForMessages() {
        world.close(world.vcpuWithLapic(vm()));
        assertThat(kernel.msiSignal(vm(), MSI_ADDRESS, VECTOR, 0, 0)).isEqualTo(1);
    }

    // irqfds

    @Test
    void closedEventfdGoesWithWhatItCounted() {
        int vcpu = world.vcpuWithLapic(vm());
        int event = world.eventfd();
        assertOk(world.routeToVector(vm(), 30));
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        world.close(event);
        int next = world.eventfd();
        assertOk(kernel.eventfdSignal(next, 1));
        // Any deassign waits until irqfds that go are gone.
        assertOk(kernel.irqfdDeassign(vm(), next, 30));
        assertThat(world.requested(vcpu, VECTOR)).isFalse();
        assertOk(kernel.irqfdAssign(vm(), next, 30));
        eventually("the vector is requested", () -> world.requested(vcpu, VECTOR));
    }

    @Test
    void resamplefdStaysCountedByTheIrqfdAlone() {
        assertOk(world.setPinRoutes(vm(), new PinRoute(5, IOAPIC, 5, 0)));
        world.redirect(vm(), 5, LEVEL | VECTOR);
        int event = world.eventfd();
        int resample = world.eventfd();
        RealModeGuest guest = RealModeGuest.answering(world, vm());
        assertOk(kernel.irqfdAssignLevel(vm(), event, resample, 5));
        world.close(resample);
        assertOk(kernel.eventfdSignal(event, 1));
        eventually("pin 5 is high", () -> world.ioapicLine(vm(), 5));
        guest.answer();
        assertThat(world.ioapicLine(vm(), 5)).isFalse();
    }

    @Test
    void duplicateDeassignsWhatAClosedDescriptorAssigned() {
        int event = world.eventfd();
        int duplicate = world.own(kernel.fdDup(event));
        assertOk(kernel.irqfdAssign(vm(), event, 30));
        world.close(event);
        assertOk(kernel.irqfdDeassign(vm(), duplicate, 30));
        assertOk(kernel.irqfdAssign(vm(), duplicate, 31));
    }

    @Test
    void closedEventfdLeavesTheLineToTheOtherResamplingIrqfd() {
        int first = world.eventfd();
        int other = world.eventfd();
        assertOk(kernel.irqfdAssignLevel(vm(), first, world.eventfd(), 5));
        assertOk(kernel.irqfdAssignLevel(vm(), other, world.eventfd(), 5));
        assertOk(kernel.eventfdSignal(first, 1));
        eventually("pin 5 is high", () -> world.ioapicLine(vm(), 5));
        world.close(first);
        assertOk(kernel.irqfdDeassign(vm(), world.eventfd(), 5));
        assertThat(world.ioapicLine(vm(), 5)).isTrue();
        assertErrno(Errno.EBUSY, kernel.irqfdAssign(vm(), other, 6));
        assertOk(kernel.irqfdDeassign(vm(), other, 5));
        assertThat(world.ioapicLine(vm(), 5)).isFalse();
    }

    // ioeventfds

    @Test
    void ioeventfdOutlivesItsEventfdAndTakesWritesForNobody() {
        int vm = world.bareVm();
        int event = world.eventfd();
        assertOk(kernel.ioeventfdAssign(vm, event, PORT, 1, PIO, 0));
        world.close(event);
        new RealModeGuest(world, vm, WRITES).runTo(0x81);
    }

    /** A new eventfd is not the old one, whatever its number: nobody can remove that any more. */
    @Test
    void ioeventfdOfAClosedEventfdCannotBeRemoved() {
        int vm = world.bareVm();
        int event = world.eventfd();
        assertOk(kernel.ioeventfdAssign(vm, event, PORT, 1, PIO, 0));
        world.close(event);
        int next = world.eventfd();
        assertErrno(Errno.ENOENT, kernel.ioeventfdDeassign(vm, next, PORT, 1, PIO, 0));
        assertErrno(Errno.EEXIST, kernel.ioeventfdAssign(vm, next, PORT, 1, PIO, 0));
    }

    @Test
    void duplicateRemovesTheIoeventfdOfAClosedDescriptor() {
        int vm = world.bareVm();
        int event = world.eventfd();
        int duplicate = world.own(kernel.fdDup(event));
        assertOk(kernel.ioeventfdAssign(vm, event, PORT, 1, PIO, 0));
        world.close(event);
        assertOk(kernel.ioeventfdDeassign(vm, duplicate, PORT, 1, PIO, 0));
    }

    /** Unlike irqfds they go with the VM itself, which a vCPU keeps. */
    @Test
    void ioeventfdOutlivesTheFileOfItsVm() {
        int vm = world.bareVm();
        int event = world.eventfd();
        assertOk(kernel.ioeventfdAssign(vm, event, PORT, 1, PIO, 0));
        RealModeGuest guest = new RealModeGuest(world, vm, WRITES);
        world.close(vm);
        guest.runTo(0x81);
        assertThat(world.drain(event)).isEqualTo(1);
    }

    // Failure leaves nothing behind

    @Test
    void refusedCallsMakeNoDescriptor() {
        int kvm = world.kvm();
        int vm = world.bareVm();
        world.vcpu(vm, 0);
        int next = world.eventfd();
        world.close(next);
        assertErrno(Errno.EINVAL, kernel.vmCreate(kvm, 0xff));
        assertErrno(Errno.EEXIST, libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, 0));
        assertErrno(Errno.ENODEV, kernel.deviceCreate(vm, 99));
        assertErrno(Errno.EINVAL, libc.eventfd(0, 2));
        assertErrno(Errno.EBADF, kernel.eventfdSignal(next, 1));
    }
}
