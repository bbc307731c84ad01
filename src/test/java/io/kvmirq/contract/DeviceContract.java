/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.testing.Machine;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** KVM_CREATE_DEVICE and the KVM-VFIO device: virt/kvm/kvm_main.c, virt/kvm/vfio.c. */
@Contract
class DeviceContract {
    private final World world;
    private final KernelBackend kernel;

    DeviceContract(World world) {
        this.world = world;
        this.kernel = world.kernel();
    }

    @AfterEach
    void close() {
        world.closeAll();
    }

    private static final int FILE_GROUP = 1;

    private int device(int vm) {
        return world.own(kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
    }

    @Test
    void testMakesNothing() {
        int vm = world.fullVm();
        long before = Machine.openFds();
        assertThat(kernel.deviceTest(vm, Uapi.KVM_DEV_TYPE_VFIO)).isZero();
        assertThat(Machine.openFds()).isEqualTo(before);
        device(vm);
        assertThat(kernel.deviceTest(vm, Uapi.KVM_DEV_TYPE_VFIO)).isZero();
    }

    @Test
    void unknownTypesDoNotExist() {
        int vm = world.fullVm();
        for (int type : new int[] {0, 6, 7, 99}) {
            assertErrno(Errno.ENODEV, kernel.deviceTest(vm, type));
            assertErrno(Errno.ENODEV, kernel.deviceCreate(vm, type));
        }
    }

    @Test
    void vmHasOneVfioDevice() {
        int vm = world.fullVm();
        int first = device(vm);
        assertErrno(Errno.EBUSY, kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
        world.close(first);
        device(vm);
    }

    @Test
    void historicForwardingGroupNeverMerged() {
        int device = device(world.fullVm());
        assertOk(kernel.deviceAttrHas(device, FILE_GROUP, 1));
        assertOk(kernel.deviceAttrHas(device, FILE_GROUP, 2));
        assertErrno(Errno.ENXIO, kernel.deviceAttrHas(device, FILE_GROUP, 3));
        assertErrno(Errno.ENXIO, kernel.deviceAttrHas(device, 2, 1));
        assertErrno(Errno.ENXIO, kernel.deviceAttrHas(device, 0, 0));
    }

    @Test
    void onlyVfioFilesAreAdded() {
        int device = device(world.fullVm());
        assertErrno(Errno.EBADF, kernel.deviceVfioAdd(device, -1));
        assertErrno(Errno.EINVAL, kernel.deviceVfioAdd(device, world.eventfd()));
        assertErrno(Errno.EBADF, kernel.deviceVfioRemove(device, -1));
        assertErrno(Errno.ENOENT, kernel.deviceVfioRemove(device, world.eventfd()));
    }

    @Test
    void attributesBelongToDevices() {
        assertErrno(Errno.ENOTTY, kernel.deviceAttrHas(world.fullVm(), FILE_GROUP, 1));
        assertErrno(Errno.ENOTTY, kernel.deviceAttrHas(world.eventfd(), FILE_GROUP, 1));
    }
}
