/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.uapi.Uapi;
import org.junit.jupiter.api.Test;

/** Real VFIO files and the KVM-VFIO device: virt/kvm/vfio.c. */
@VfioContract
class VfioKvmContract extends VfioSuite {
    private int kvmVfio() {
        return world.own(kernel.deviceCreate(world.bareVm(), Uapi.KVM_DEV_TYPE_VFIO));
    }

    // Which files

    @Test
    void groupIsAddedOnce() {
        int group = vfio.group(EDU);
        int files = kvmVfio();
        assertErrno(Errno.ENOENT, kernel.deviceVfioRemove(files, group));
        assertOk(kernel.deviceVfioAdd(files, group));
        assertErrno(Errno.EEXIST, kernel.deviceVfioAdd(files, group));
        assertOk(kernel.deviceVfioRemove(files, group));
        assertErrno(Errno.ENOENT, kernel.deviceVfioRemove(files, group));
        assertOk(kernel.deviceVfioAdd(files, group));
    }

    @Test
    void duplicateOfAGroupIsTheSameFile() {
        int group = vfio.group(EDU);
        int copy = world.own(kernel.fdDup(group));
        int files = kvmVfio();
        assertOk(kernel.deviceVfioAdd(files, group));
        assertErrno(Errno.EEXIST, kernel.deviceVfioAdd(files, copy));
        assertOk(kernel.deviceVfioRemove(files, copy));
        assertErrno(Errno.ENOENT, kernel.deviceVfioRemove(files, group));
    }

    @Test
    void groupThatWasOpenedAgainIsAnotherFile() {
        int group = vfio.group(EDU);
        int files = kvmVfio();
        assertOk(kernel.deviceVfioAdd(files, group));
        assertOk(kernel.deviceVfioRemove(files, group));
        closeFile(group);
        int again = vfio.group(EDU);
        assertErrno(Errno.ENOENT, kernel.deviceVfioRemove(files, again));
        assertOk(kernel.deviceVfioAdd(files, again));
    }

    @Test
    void containerIsNoVfioFileOfKvm() {
        vfio.place(EDU);
        int container = vfio.container();
        int files = kvmVfio();
        assertErrno(Errno.EINVAL, kernel.deviceVfioAdd(files, container));
        assertErrno(Errno.ENOENT, kernel.deviceVfioRemove(files, container));
    }

    @Test
    void deviceThatItsGroupOpenedIsAcceptedSince66() {
        OpenedDevice device = vfio.device(EDU);
        int files = kvmVfio();
        if (vfio.isSince(6, 6)) {
            assertOk(kernel.deviceVfioAdd(files, device.fd));
            assertOk(kernel.deviceVfioRemove(files, device.fd));
        } else {
            assertErrno(Errno.EINVAL, kernel.deviceVfioAdd(files, device.fd));
        }
    }

    @Test
    void severalGroupsBelongToOneVm() {
        int files = kvmVfio();
        int edu = vfio.group(EDU);
        int e1000e = vfio.group(E1000E);
        assertOk(kernel.deviceVfioAdd(files, edu));
        assertOk(kernel.deviceVfioAdd(files, e1000e));
        assertOk(kernel.deviceVfioRemove(files, edu));
        assertOk(kernel.deviceVfioRemove(files, e1000e));
    }

    /** The kernel does not compare the lists of two VMs. */
    @Test
    void groupMayBeAddedToTwoVms() {
        int group = vfio.group(EDU);
        assertOk(kernel.deviceVfioAdd(kvmVfio(), group));
        assertOk(kernel.deviceVfioAdd(kvmVfio(), group));
    }

    // Order

    @Test
    void groupIsAddedBeforeOrAfterItsDeviceIsOpened() {
        int files = kvmVfio();
        int group = vfio.group(EDU);
        int container = vfio.attach(group);
        assertOk(kernel.deviceVfioAdd(files, group));
        OpenedDevice device = vfio.device(EDU, container, group);
        closeFile(device.fd);
        assertOk(kernel.deviceVfioRemove(files, group));
        vfio.device(EDU, container, group);
        assertOk(kernel.deviceVfioAdd(files, group));
    }

    @Test
    void groupIsAddedBeforeItHasAContainer() {
        int group = vfio.group(EDU);
        int files = kvmVfio();
        assertOk(kernel.deviceVfioAdd(files, group));
        vfio.attach(group);
        assertOk(kernel.deviceVfioRemove(files, group));
    }

    @Test
    void removingAGroupTouchesNoInterrupt() {
        OpenedDevice device = vfio.device(E1000E);
        int files = kvmVfio();
        assertOk(kernel.deviceVfioAdd(files, device.group));
        int[] events = vfio.events(2);
        assertOk(device.arm(MSIX, 0, events));
        assertOk(kernel.deviceVfioRemove(files, device.group));
        assertThat(device.armed(MSIX, events)).containsExactly(0, 1);
    }

    // What is held

    @Test
    void addedGroupStaysOpenWithoutADescriptor() {
        int group = vfio.group(EDU);
        int files = kvmVfio();
        assertOk(kernel.deviceVfioAdd(files, group));
        closeFile(group);
        assertErrno(Errno.EBADF, kernel.deviceVfioRemove(files, group));
        assertErrno(Errno.EBUSY, vfio.open(vfio.groupPath(EDU)));
        closeFile(files);
        closeFile(vfio.group(EDU));
    }

    /** Closing it does not disable its interrupts: remove it before. */
    @Test
    void addedDeviceStaysArmedWithoutADescriptor() {
        assumeTrue(vfio.isSince(6, 6), "needs 6.6, where KVM accepts a device");
        OpenedDevice device = vfio.device(EDU);
        device.start();
        int event = world.eventfd();
        assertOk(device.arm(MSI, 0, event));
        int copy = world.own(kernel.fdDup(device.fd));
        int files = kvmVfio();
        assertOk(kernel.deviceVfioAdd(files, device.fd));
        closeFile(device.fd);
        closeFile(copy);
        assertErrno(Errno.EBADF, kernel.deviceVfioRemove(files, device.fd));
        assertErrno(Errno.EBUSY, vfio.unsetContainer(device.group));
        closeFile(files);
        assertOk(vfio.unsetContainer(device.group));
    }

    @Test
    void closingTheKvmDeviceReleasesAllFilesWhileTheVmLives() {
        int vm = world.bareVm();
        int files = world.own(kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
        int group = vfio.group(EDU);
        assertOk(kernel.deviceVfioAdd(files, group));
        closeFile(files);
        closeFile(group);
        closeFile(vfio.group(EDU));
        world.own(kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
    }
}
