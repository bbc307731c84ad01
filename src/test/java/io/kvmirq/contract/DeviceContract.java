/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** KVM_CREATE_DEVICE and the KVM-VFIO device: virt/kvm/kvm_main.c, virt/kvm/vfio.c. */
@Contract
class DeviceContract extends KernelSuite {
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
        for (int type : new int[] {0, 6, 7, 99}) {
            assertErrno(Errno.ENODEV, kernel.deviceTest(vm(), type));
            assertErrno(Errno.ENODEV, kernel.deviceCreate(vm(), type));
        }
    }

    @Test
    void vmHasOneVfioDevice() {
        int first = device(vm());
        assertErrno(Errno.EBUSY, kernel.deviceCreate(vm(), Uapi.KVM_DEV_TYPE_VFIO));
        world.close(first);
        device(vm());
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

    // The structure of KVM_CREATE_DEVICE

    private static final int UNTOUCHED = 0x5a5a5a5a;

    private ByteBuffer create(int type, int flags) {
        return Structs.of("kvm_create_device", type, UNTOUCHED, flags);
    }

    @Test
    void testLeavesTheDescriptorFieldAlone() {
        int vm = world.bareVm();
        ByteBuffer structure = create(Uapi.KVM_DEV_TYPE_VFIO, Uapi.KVM_CREATE_DEVICE_TEST);
        assertOk(libc.ioctl(vm, Uapi.KVM_CREATE_DEVICE, structure));
        assertThat(structure.getInt(Uapi.KvmCreateDevice.FD)).isEqualTo(UNTOUCHED);
    }

    @Test
    void typeIsCheckedBeforeTheFlags() {
        world.assumeX86();
        int vm = world.bareVm();
        for (int type : new int[] {0, 5, 7, 8, 17, 99, -1}) {
            ByteBuffer structure = create(type, -1);
            assertErrno(Errno.ENODEV, libc.ioctl(vm, Uapi.KVM_CREATE_DEVICE, structure));
            assertThat(structure.getInt(Uapi.KvmCreateDevice.FD)).isEqualTo(UNTOUCHED);
        }
    }

    // Attributes

    private static final long NOWHERE = 8;

    private int attribute(int fd, long request, int group, long attribute, long address) {
        return libc.ioctl(fd, request, Structs.of("kvm_device_attr", -1, group, attribute, address));
    }

    @Test
    void attributeIsLookedForBeforeItsAddress() {
        int device = device(world.bareVm());
        for (long request : new long[] {Uapi.KVM_SET_DEVICE_ATTR, Uapi.KVM_HAS_DEVICE_ATTR}) {
            assertErrno(Errno.ENXIO, attribute(device, request, 0, 1, NOWHERE));
            assertErrno(Errno.ENXIO, attribute(device, request, 2, 1, NOWHERE));
            assertErrno(Errno.ENXIO, attribute(device, request, FILE_GROUP, 0, NOWHERE));
            assertErrno(Errno.ENXIO, attribute(device, request, FILE_GROUP, 4, NOWHERE));
            assertErrno(Errno.ENXIO, attribute(device, request, FILE_GROUP, 1L << 32 | 1, NOWHERE));
            assertErrno(
                    Errno.ENXIO,
                    attribute(device, request, FILE_GROUP, Uapi.KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE, NOWHERE));
        }
    }

    @Test
    void addressOfTheFileIsReadBeforeTheFile() {
        int device = device(world.bareVm());
        for (long attribute : new long[] {Uapi.KVM_DEV_VFIO_FILE_ADD, Uapi.KVM_DEV_VFIO_FILE_DEL}) {
            assertErrno(Errno.EFAULT, attribute(device, Uapi.KVM_SET_DEVICE_ATTR, FILE_GROUP, attribute, NOWHERE));
        }
    }

    @Test
    void nothingCanBeGot() {
        int device = device(world.bareVm());
        assertErrno(Errno.EPERM, attribute(device, Uapi.KVM_GET_DEVICE_ATTR, FILE_GROUP, 1, NOWHERE));
        assertErrno(Errno.EPERM, attribute(device, Uapi.KVM_GET_DEVICE_ATTR, 0, 0, NOWHERE));
    }

    @Test
    void deviceKnowsAttributesAndNothingElse() {
        int device = device(world.bareVm());
        assertErrno(Errno.ENOTTY, kernel.capabilityCheck(device, Uapi.KVM_CAP_IRQFD));
        assertErrno(Errno.ENOTTY, kernel.irqfdAssign(device, world.eventfd(), 0));
        assertErrno(Errno.ENOTTY, libc.ioctl(device, Uapi.KVM_RUN, 0));
    }
}
