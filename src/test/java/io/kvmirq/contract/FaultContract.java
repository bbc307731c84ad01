/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.assertErrno;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Addresses that are none: the kernel says EFAULT, at its place in the order of checks. */
@Contract
class FaultContract extends KernelSuite {
    /** In the page that is never mapped. */
    private static final long NOWHERE = 8;

    @Test
    void structuresAreCopiedBeforeAnythingIsChecked() {
        int vm = world.bareVm();
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_IRQFD, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_IOEVENTFD, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_SIGNAL_MSI, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_IRQ_LINE, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_CREATE_DEVICE, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_ENABLE_CAP, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_SET_USER_MEMORY_REGION, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_SET_GSI_ROUTING, NOWHERE));
    }

    /** The whole of it is copied first, so that a VM without irqchip does not say ENXIO. */
    @Test
    void chipStateIsCopiedBeforeTheIrqchipIsLookedFor() {
        world.assumeFullIrqchip();
        int vm = world.bareVm();
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_GET_IRQCHIP, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_SET_IRQCHIP, NOWHERE));
    }

    @Test
    void missingSetterBeatsTheAddressAndMissingLapicToo() {
        int device = world.own(kernel.deviceCreate(vm(), Uapi.KVM_DEV_TYPE_VFIO));
        assertErrno(Errno.EPERM, libc.ioctl(device, Uapi.KVM_GET_DEVICE_ATTR, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(device, Uapi.KVM_SET_DEVICE_ATTR, NOWHERE));
        int withoutLapic = world.vcpu(world.bareVm(), 0);
        assertErrno(Errno.EINVAL, libc.ioctl(withoutLapic, Uapi.KVM_SET_LAPIC, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(world.vcpu(vm(), 0), Uapi.KVM_SET_LAPIC, NOWHERE));
    }

    @Test
    void eventfdsAndPollTakeNoBadAddress() {
        int event = world.eventfd();
        assertErrno(Errno.EFAULT, libc.write(event, NOWHERE, 8));
        assertErrno(Errno.EINVAL, libc.write(event, NOWHERE, 4));
        assertErrno(Errno.EFAULT, libc.ppoll(NOWHERE, 1, 0));
        assertErrno(Errno.EFAULT, libc.open(NOWHERE, 0, 0));
    }

    /** As rust-vmm's test_faulty_vm_fd. */
    @Test
    void everyCallOnADescriptorThatIsNotOpenSaysSoBeforeAnythingElse() {
        world.assumeX86();
        ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        int event = world.eventfd();
        for (int bad : new int[] {-1, 1 << 20}) {
            List<Long> results = new ArrayList<>(List.of(
                    (long) kernel.kvmVersion(bad),
                    (long) kernel.capabilityCheck(bad, 0),
                    (long) kernel.vmCreate(bad, 0xff),
                    (long) kernel.irqchipCreate(bad),
                    (long) kernel.irqchipCreateSplit(bad, 4097),
                    (long) kernel.irqchipGet(bad, 9, state),
                    (long) kernel.irqchipSet(bad, 9, state),
                    (long) kernel.x2apicEnable(bad, -1)));
            results.addAll(List.of(
                    (long) kernel.routesSet(bad, World.records(0), 0),
                    (long) kernel.irqfdAssign(bad, event, 0),
                    (long) kernel.irqfdAssignLevel(bad, event, event, 0),
                    (long) kernel.irqfdDeassign(bad, event, 0),
                    (long) kernel.ioeventfdAssign(bad, event, 0, 3, 0, 0),
                    (long) kernel.ioeventfdDeassign(bad, event, 0, 3, 0, 0),
                    (long) kernel.msiSignal(bad, 0, 0, 2, 0)));
            results.addAll(List.of(
                    (long) kernel.lineSet(bad, 0, 0),
                    (long) kernel.lineSetStatus(bad, 0, 0, state),
                    (long) kernel.deviceTest(bad, 99),
                    (long) kernel.deviceCreate(bad, 99),
                    (long) kernel.deviceAttrHas(bad, 9, 9),
                    (long) kernel.deviceVfioAdd(bad, event),
                    (long) kernel.deviceVfioRemove(bad, event),
                    (long) kernel.eventfdSignal(bad, -1),
                    (long) kernel.eventfdDrain(bad, state),
                    (long) kernel.eventfdDrainForeign(bad, state)));
            results.addAll(List.of(
                    (long) libc.ioctl(bad, Uapi.KVM_IRQFD, NOWHERE),
                    (long) libc.ioctl(bad, 0, 0),
                    libc.read(bad, NOWHERE, 8),
                    libc.write(bad, NOWHERE, 4),
                    libc.pread(bad, NOWHERE, 8, 0),
                    libc.pwrite(bad, NOWHERE, 8, 0),
                    (long) libc.fcntl(bad, Uapi.F_GETFL, 0),
                    libc.mmap(World.PAGE, Uapi.PROT_READ, Uapi.MAP_SHARED, bad, 0),
                    (long) kernel.fdDup(bad),
                    (long) kernel.fdClose(bad)));
            assertThat(results).containsOnly((long) -Errno.EBADF.number());
        }
    }

    @Test
    void newerStructuresAreCopiedFirstToo() {
        world.assumeFullIrqchip();
        int vm = world.bareVm();
        int vcpu = world.vcpu(vm, 0);
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_CREATE_PIT2, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_IRQ_LINE_STATUS, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_SET_REGS, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_SET_SREGS, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_GET_SREGS, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_SET_CPUID2, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(world.kvm(), Uapi.KVM_GET_SUPPORTED_CPUID, NOWHERE));
    }
}
