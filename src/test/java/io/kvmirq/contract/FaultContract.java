/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.assertErrno;

import io.kvmirq.Errno;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.libc.Uapi;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Addresses that are none: the kernel says EFAULT, at its place in the order of checks. */
@Contract
class FaultContract {
    /** In the page that is never mapped. */
    private static final long NOWHERE = 8;

    private final World world;
    private final Libc libc;

    FaultContract(World world) {
        this.world = world;
        this.libc = world.kernel().libc();
    }

    @AfterEach
    void close() {
        world.closeAll();
    }

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
        int vm = world.bareVm();
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_GET_IRQCHIP, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_SET_IRQCHIP, NOWHERE));
    }

    @Test
    void missingSetterBeatsTheAddressAndMissingLapicToo() {
        int vm = world.fullVm();
        int device = world.own(world.kernel().deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
        assertErrno(Errno.EPERM, libc.ioctl(device, Uapi.KVM_GET_DEVICE_ATTR, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(device, Uapi.KVM_SET_DEVICE_ATTR, NOWHERE));
        int withoutLapic = world.vcpu(world.bareVm(), 0);
        assertErrno(Errno.EINVAL, libc.ioctl(withoutLapic, Uapi.KVM_SET_LAPIC, NOWHERE));
        assertErrno(Errno.EFAULT, libc.ioctl(world.vcpu(vm, 0), Uapi.KVM_SET_LAPIC, NOWHERE));
    }

    @Test
    void eventfdsAndPollTakeNoBadAddress() {
        int event = world.eventfd();
        assertErrno(Errno.EFAULT, libc.write(event, NOWHERE, 8));
        assertErrno(Errno.EINVAL, libc.write(event, NOWHERE, 4));
        assertErrno(Errno.EFAULT, libc.ppoll(NOWHERE, 1, 0));
        assertErrno(Errno.EFAULT, libc.open(NOWHERE, 0, 0));
    }
}
