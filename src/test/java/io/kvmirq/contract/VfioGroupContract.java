/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.VfioWorld.NOT_OPEN;
import static io.kvmirq.contract.VfioWorld.number;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.UapiVfio;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Containers and groups of VFIO: drivers/vfio/container.c and group.c. */
@VfioContract
class VfioGroupContract extends VfioSuite {
    private static final int VIABLE = UapiVfio.VFIO_GROUP_FLAGS_VIABLE;
    private static final int ATTACHED = UapiVfio.VFIO_GROUP_FLAGS_CONTAINER_SET;
    private static final int TYPE1V2 = UapiVfio.VFIO_TYPE1v2_IOMMU;
    /** VFIO_SPAPR_TCE_IOMMU: of another architecture. */
    private static final int OTHER_TYPE = 2;

    // Containers

    @Test
    void containerHasTheOneApiVersionAndKnowsItsExtensions() {
        vfio.place(EDU);
        int container = vfio.container();
        assertThat(vfio.ioctl(container, UapiVfio.VFIO_GET_API_VERSION, 0)).isZero();
        boolean nesting = !vfio.isSince(6, 13);
        assertThat(IntStream.rangeClosed(1, 11)
                        .map(extension -> vfio.ioctl(container, UapiVfio.VFIO_CHECK_EXTENSION, extension)))
                .containsExactly(1, 0, 1, 0, 0, nesting ? 1 : 0, 0, 0, 1, 0, 0);
    }

    @Test
    void containerWithoutIommuCallsOtherRequestsInvalid() {
        vfio.place(EDU);
        int container = vfio.container();
        for (long request : new long[] {
            UapiVfio.VFIO_IOMMU_GET_INFO,
            UapiVfio.VFIO_IOMMU_MAP_DMA,
            UapiVfio.VFIO_DEVICE_GET_INFO,
            UapiVfio.VFIO_GROUP_GET_STATUS
        }) {
            assertErrno(Errno.EINVAL, vfio.ioctl(container, request, 0));
        }
    }

    @Test
    void iommuNeedsAGroupThenATypeAndIsSetOnce() {
        int group = vfio.group(EDU);
        int container = vfio.container();
        assertErrno(Errno.EINVAL, vfio.setIommu(container, OTHER_TYPE));
        assertOk(vfio.setContainer(group, container));
        assertErrno(Errno.ENODEV, vfio.setIommu(container, OTHER_TYPE));
        assertErrno(Errno.ENODEV, vfio.setIommu(container, UapiVfio.VFIO_NOIOMMU_IOMMU));
        assertOk(vfio.setIommu(container, TYPE1V2));
        assertErrno(Errno.EINVAL, vfio.setIommu(container, OTHER_TYPE));
        assertErrno(Errno.EINVAL, vfio.setIommu(container, TYPE1V2));
        assertErrno(Errno.ENOTTY, vfio.ioctl(container, UapiVfio.VFIO_IOMMU_ENABLE, 0));
        assertThat(vfio.ioctl(container, UapiVfio.VFIO_GET_API_VERSION, 0)).isZero();
    }

    @Test
    void lastGroupTakesTheIommuWithIt() {
        int edu = vfio.group(EDU);
        int e1000e = vfio.group(E1000E);
        int container = vfio.attach(edu);
        assertOk(vfio.setContainer(e1000e, container));
        assertOk(vfio.unsetContainer(edu));
        assertErrno(Errno.ENOTTY, vfio.ioctl(container, UapiVfio.VFIO_IOMMU_ENABLE, 0));
        assertOk(vfio.unsetContainer(e1000e));
        assertErrno(Errno.EINVAL, vfio.ioctl(container, UapiVfio.VFIO_IOMMU_ENABLE, 0));
    }

    @Test
    void containerOfTwoGroupsOpensADeviceOfEach() {
        int edu = vfio.group(EDU);
        int e1000e = vfio.group(E1000E);
        int container = vfio.attach(edu);
        assertOk(vfio.setContainer(e1000e, container));
        assertThat(vfio.device(EDU, container, edu).irqInfo(OpenedDevice.MSI)).isEqualTo("9 1");
        assertThat(vfio.device(E1000E, container, e1000e).irqInfo(OpenedDevice.MSI))
                .isEqualTo("9 1");
    }

    // Groups

    @Test
    void groupIsOpenOnce() {
        int group = vfio.group(EDU);
        String path = vfio.groupPath(EDU);
        assertErrno(Errno.EBUSY, vfio.open(path));
        int copy = world.own(kernel.fdDup(group));
        closeFile(group);
        assertErrno(Errno.EBUSY, vfio.open(path));
        closeFile(copy);
        closeFile(vfio.group(EDU));
    }

    @Test
    void groupThatNobodyHasDoesNotExist() {
        vfio.place(EDU);
        assertErrno(Errno.ENOENT, vfio.open("/dev/vfio/4095"));
    }

    @Test
    void statusNeedsItsSizeAndShowsTheContainer() {
        int group = vfio.group(EDU);
        assertErrno(Errno.EFAULT, vfio.ioctl(group, UapiVfio.VFIO_GROUP_GET_STATUS, 0));
        assertErrno(
                Errno.EINVAL,
                vfio.ioctl(
                        group,
                        UapiVfio.VFIO_GROUP_GET_STATUS,
                        Buffers.allocate(UapiVfio.VfioGroupStatus.SIZE).putInt(0, 7)));
        assertThat(vfio.status(group)).isEqualTo(VIABLE);
        int container = vfio.container();
        assertOk(vfio.setContainer(group, container));
        assertThat(vfio.status(group)).isEqualTo(VIABLE | ATTACHED);
        closeFile(container);
        assertThat(vfio.status(group)).as("the group holds the container").isEqualTo(VIABLE | ATTACHED);
        assertOk(vfio.unsetContainer(group));
        assertThat(vfio.status(group)).isEqualTo(VIABLE);
    }

    @Test
    void containerIsCheckedInOrder() {
        int group = vfio.group(EDU);
        assertErrno(Errno.EFAULT, vfio.ioctl(group, UapiVfio.VFIO_GROUP_SET_CONTAINER, 0));
        assertErrno(Errno.EBADF, vfio.setContainer(group, -1));
        assertErrno(Errno.EBADF, vfio.setContainer(group, NOT_OPEN));
        Errno noContainer = vfio.isSince(6, 2) ? Errno.EBADFD : Errno.EINVAL;
        assertErrno(noContainer, vfio.setContainer(group, world.eventfd()));
        assertErrno(noContainer, vfio.setContainer(group, group));
        assertErrno(Errno.EINVAL, vfio.unsetContainer(group));
        assertOk(vfio.setContainer(group, vfio.container()));
        assertErrno(Errno.EBADF, vfio.setContainer(group, NOT_OPEN));
        assertErrno(Errno.EINVAL, vfio.setContainer(group, world.eventfd()));
        assertErrno(Errno.EINVAL, vfio.setContainer(group, vfio.container()));
    }

    @Test
    void groupKnowsNoRequestOfAContainerOrADevice() {
        int group = vfio.group(EDU);
        for (long request :
                new long[] {UapiVfio.VFIO_GET_API_VERSION, UapiVfio.VFIO_DEVICE_GET_INFO, UapiVfio.VFIO_DEVICE_RESET}) {
            assertErrno(Errno.ENOTTY, vfio.ioctl(group, request, 0));
        }
    }

    @Test
    void eventfdKnowsNoRequestOfAGroup() {
        vfio.place(EDU);
        assertErrno(Errno.ENOTTY, vfio.ioctl(world.eventfd(), UapiVfio.VFIO_GROUP_SET_CONTAINER, number(0)));
    }

    @Test
    void groupOfAnotherDriverIsNotViable() {
        VfioWorld alone = vfio.fakeAlone("the lab's devices are alone in their groups");
        alone.fake().pciDevice("0000:00:1f.0", 9).add();
        alone.fake().pciDevice("0000:00:1f.1", 9).addToHost();
        int group = alone.world.own(alone.open("/dev/vfio/9"));
        assertThat(alone.status(group)).isZero();
        assertErrno(Errno.EPERM, alone.setContainer(group, alone.container()));
    }

    // Devices of a group

    @Test
    void deviceIsLookedForByNameBeforeTheContainer() {
        int group = vfio.group(EDU);
        assertErrno(Errno.EFAULT, vfio.ioctl(group, UapiVfio.VFIO_GROUP_GET_DEVICE_FD, 0));
        assertErrno(Errno.ENODEV, vfio.deviceFd(group, vfio.place(E1000E).address()));
        assertErrno(Errno.ENODEV, vfio.deviceFd(group, "no device"));
        String name = vfio.place(EDU).address();
        assertErrno(Errno.EINVAL, vfio.deviceFd(group, name));
        int container = vfio.container();
        assertOk(vfio.setContainer(group, container));
        assertErrno(Errno.EINVAL, vfio.deviceFd(group, name));
        assertOk(vfio.setIommu(container, TYPE1V2));
        world.own(vfio.deviceFd(group, name));
    }

    @Test
    void openDeviceHoldsItsGroupToTheContainer() {
        OpenedDevice device = vfio.device(EDU);
        assertErrno(Errno.EBUSY, vfio.unsetContainer(device.group));
        closeFile(device.fd);
        assertOk(vfio.unsetContainer(device.group));
    }

    @Test
    void openDeviceHoldsItsGroup() {
        OpenedDevice device = vfio.device(EDU);
        closeFile(device.group);
        assertErrno(Errno.EBUSY, vfio.open(vfio.groupPath(EDU)));
        closeFile(device.fd);
        assertThat(vfio.status(vfio.group(EDU))).isEqualTo(VIABLE);
        assertErrno(Errno.EINVAL, vfio.setIommu(device.container, TYPE1V2));
    }
}
