/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.VfioUser.NAME;
import static io.kvmirq.fake.VfioUser.number;
import static io.kvmirq.fake.VfioUser.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.NotModelledException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioGroupStatus;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Containers and groups of VFIO. */
class VfioGroupTest {
    private static final int VIABLE = UapiVfio.VFIO_GROUP_FLAGS_VIABLE;
    private static final int ATTACHED = UapiVfio.VFIO_GROUP_FLAGS_CONTAINER_SET;

    private final FakeKernel kernel = new FakeKernel(Profile.V6_12);
    private final VfioUser user = new VfioUser(kernel);

    @AfterEach
    void explain() {
        user.close();
    }

    private int status(int group) {
        ByteBuffer status = Buffers.allocate(VfioGroupStatus.SIZE).putInt(VfioGroupStatus.ARGSZ, VfioGroupStatus.SIZE);
        assertThat(user.ioctl(group, UapiVfio.VFIO_GROUP_GET_STATUS, status)).isZero();
        return status.getInt(VfioGroupStatus.FLAGS);
    }

    @Test
    void hostWithoutDevicesHasNoVfio() {
        assertThat(user.open("/dev/vfio/vfio")).isEqualTo(refused(Errno.ENOENT));
        assertThat(user.open("/dev/vfio/1")).isEqualTo(refused(Errno.ENOENT));
        kernel.pciDevice(NAME, 1).addToHost();
        assertThat(user.open("/dev/vfio/vfio")).isEqualTo(refused(Errno.ENOENT));
        assertThat(user.open("/dev/vfio/1")).isEqualTo(refused(Errno.ENOENT));
        kernel.pciDevice("0000:00:03.0", 2).add();
        assertThat(user.open("/dev/vfio/vfio")).isPositive();
        assertThat(user.open("/dev/vfio/1")).isEqualTo(refused(Errno.ENOENT));
        assertThat(user.open("/dev/vfio/2")).isPositive();
    }

    @Test
    void devicesThatCannotBeAreRefused() {
        kernel.pciDevice(NAME, 1).add();
        assertThatIllegalArgumentException()
                .isThrownBy(() -> kernel.pciDevice(NAME, 2).add())
                .withMessage("a device has the address 0000:00:02.0 already: use another one");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> kernel.pciDevice("0000:00:03.0", 1).msi(3))
                .withMessage("3 vectors of MSI: expected 1, 2, 4, 8, 16 or 32");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> kernel.pciDevice("0000:00:03.0", 1).msix(2049))
                .withMessage("2049 vectors of MSI-X: expected 1 to 2048");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> kernel.pciDevice("nvme0", 1))
                .withMessageStartingWith("'nvme0' is not a PCI address");
    }

    /** As VFIO_CHECK_EXTENSION 1 to 11 in the lab. */
    @Test
    void containerWithoutIommuKnowsThreeRequests() {
        kernel.pciDevice(NAME, 1).add();
        int container = user.container();
        assertThat(user.ioctl(container, UapiVfio.VFIO_GET_API_VERSION, 0)).isZero();
        assertThat(extensions(container)).containsExactly(1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0);
        assertThat(user.ioctl(container, UapiVfio.VFIO_IOMMU_MAP_DMA, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(user.ioctl(container, UapiVfio.VFIO_DEVICE_GET_INFO, 0)).isEqualTo(refused(Errno.EINVAL));
        FakeKernel later = new FakeKernel(Profile.V7_1);
        later.pciDevice(NAME, 1).add();
        VfioUser other = new VfioUser(later);
        assertThat(other.ioctl(other.container(), UapiVfio.VFIO_CHECK_EXTENSION, 6))
                .as("nesting is gone")
                .isZero();
    }

    private List<Integer> extensions(int container) {
        return IntStream.rangeClosed(1, 11)
                .mapToObj(extension -> user.ioctl(container, UapiVfio.VFIO_CHECK_EXTENSION, extension))
                .toList();
    }

    @Test
    void iommuNeedsAGroupAndIsSetOnce() {
        kernel.pciDevice(NAME, 1).add();
        int container = user.container();
        assertThat(user.ioctl(container, UapiVfio.VFIO_SET_IOMMU, 99)).isEqualTo(refused(Errno.EINVAL));
        int group = user.open("/dev/vfio/1");
        assertThat(user.setContainer(group, container)).isZero();
        assertThat(user.ioctl(container, UapiVfio.VFIO_SET_IOMMU, 99)).isEqualTo(refused(Errno.ENODEV));
        assertThat(user.ioctl(container, UapiVfio.VFIO_SET_IOMMU, UapiVfio.VFIO_NOIOMMU_IOMMU))
                .isEqualTo(refused(Errno.ENODEV));
        assertThat(user.ioctl(container, UapiVfio.VFIO_SET_IOMMU, UapiVfio.VFIO_TYPE1_IOMMU))
                .isZero();
        assertThat(user.ioctl(container, UapiVfio.VFIO_SET_IOMMU, 99)).isEqualTo(refused(Errno.EINVAL));
        assertThat(user.ioctl(container, UapiVfio.VFIO_IOMMU_ENABLE, 0)).isEqualTo(refused(Errno.ENOTTY));
        assertThat(user.ioctl(container, UapiVfio.VFIO_GET_API_VERSION, 0)).isZero();
        assertThatThrownBy(() -> user.ioctl(container, UapiVfio.VFIO_IOMMU_GET_INFO, 0))
                .hasMessage("the fake kernel does not model VFIO_IOMMU_GET_INFO");
        assertThat(user.ioctl(group, UapiVfio.VFIO_GROUP_UNSET_CONTAINER, 0)).isZero();
        assertThat(user.ioctl(container, UapiVfio.VFIO_IOMMU_ENABLE, 0))
                .as("the last group took the IOMMU with it")
                .isEqualTo(refused(Errno.EINVAL));
    }

    @Test
    void groupIsOpenOnce() {
        kernel.pciDevice(NAME, 1).add();
        int group = user.open("/dev/vfio/1");
        assertThat(user.open("/dev/vfio/1")).isEqualTo(refused(Errno.EBUSY));
        int copy = kernel.fcntl(group, Uapi.F_DUPFD_CLOEXEC, 0);
        kernel.close(group);
        assertThat(user.open("/dev/vfio/1")).isEqualTo(refused(Errno.EBUSY));
        kernel.close(copy);
        assertThat(user.open("/dev/vfio/1")).isPositive();
    }

    @Test
    void fullDescriptorTableLeavesTheGroupClosed() {
        kernel.pciDevice(NAME, 1).add();
        kernel.limitDescriptors(3);
        assertThat(user.open("/dev/vfio/1")).isEqualTo(refused(Errno.EMFILE));
        kernel.limitDescriptors(100);
        assertThat(user.open("/dev/vfio/1")).isPositive();
    }

    @Test
    void statusShowsTheContainer() {
        kernel.pciDevice(NAME, 1).add();
        int group = user.open("/dev/vfio/1");
        assertThat(user.ioctl(group, UapiVfio.VFIO_GROUP_GET_STATUS, 0)).isEqualTo(refused(Errno.EFAULT));
        assertThat(user.ioctl(group, UapiVfio.VFIO_GROUP_GET_STATUS, Buffers.allocate(8)))
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(status(group)).isEqualTo(VIABLE);
        int container = user.container();
        assertThat(user.setContainer(group, container)).isZero();
        assertThat(status(group)).isEqualTo(VIABLE | ATTACHED);
        kernel.close(container);
        assertThat(status(group)).as("the group holds it").isEqualTo(VIABLE | ATTACHED);
        assertThat(user.ioctl(group, UapiVfio.VFIO_GROUP_UNSET_CONTAINER, 0)).isZero();
        assertThat(status(group)).isEqualTo(VIABLE);
    }

    @Test
    void groupOfAnotherDriverIsNotViable() {
        kernel.pciDevice(NAME, 1).add();
        kernel.pciDevice("0000:00:02.1", 1).addToHost();
        int group = user.open("/dev/vfio/1");
        assertThat(status(group)).isZero();
        assertThat(user.setContainer(group, user.container())).isEqualTo(refused(Errno.EPERM));
    }

    @Test
    void containerIsCheckedInOrder() {
        kernel.pciDevice(NAME, 1).add();
        int group = user.open("/dev/vfio/1");
        assertThat(user.ioctl(group, UapiVfio.VFIO_GROUP_SET_CONTAINER, 0)).isEqualTo(refused(Errno.EFAULT));
        assertThat(user.setContainer(group, -1)).isEqualTo(refused(Errno.EBADF));
        assertThat(user.setContainer(group, user.event())).isEqualTo(refused(Errno.EBADFD));
        assertThat(user.setContainer(group, group)).isEqualTo(refused(Errno.EBADFD));
        assertThat(user.setContainer(group, user.container())).isZero();
        assertThat(user.setContainer(group, -1)).isEqualTo(refused(Errno.EBADF));
        assertThat(user.setContainer(group, user.event()))
                .as("set already, and no container")
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(user.ioctl(group, UapiVfio.VFIO_GET_API_VERSION, 0)).isEqualTo(refused(Errno.ENOTTY));
    }

    @Test
    void deviceIsCheckedInOrder() {
        kernel.pciDevice(NAME, 1).add();
        kernel.pciDevice("0000:00:03.0", 2).add();
        int group = user.open("/dev/vfio/1");
        assertThat(user.ioctl(group, UapiVfio.VFIO_GROUP_GET_DEVICE_FD, 0)).isEqualTo(refused(Errno.EFAULT));
        assertThat(user.deviceFd(group, "0000:00:03.0")).as("of another group").isEqualTo(refused(Errno.ENODEV));
        kernel.limitDescriptors(group + 1);
        assertThat(user.deviceFd(group, NAME)).as("no descriptor, no container").isEqualTo(refused(Errno.EMFILE));
        kernel.limitDescriptors(100);
        assertThat(user.deviceFd(group, NAME)).as("no container").isEqualTo(refused(Errno.EINVAL));
        int container = user.container();
        assertThat(user.setContainer(group, container)).isZero();
        assertThat(user.deviceFd(group, NAME)).as("no IOMMU").isEqualTo(refused(Errno.EINVAL));
        assertThat(user.ioctl(container, UapiVfio.VFIO_SET_IOMMU, UapiVfio.VFIO_TYPE1v2_IOMMU))
                .isZero();
        assertThat(user.deviceFd(group, NAME)).isPositive();
        assertThatThrownBy(() -> user.deviceFd(group, NAME + " vf_token=0")).isInstanceOf(NotModelledException.class);
    }

    @Test
    void openDeviceHoldsGroupAndContainer() {
        kernel.pciDevice(NAME, 1).add();
        int container = user.container();
        int group = user.open("/dev/vfio/1");
        assertThat(user.ioctl(group, UapiVfio.VFIO_GROUP_UNSET_CONTAINER, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(user.setContainer(group, container)).isZero();
        assertThat(user.ioctl(container, UapiVfio.VFIO_SET_IOMMU, UapiVfio.VFIO_TYPE1v2_IOMMU))
                .isZero();
        int device = user.deviceFd(group, NAME);
        assertThat(user.ioctl(group, UapiVfio.VFIO_GROUP_UNSET_CONTAINER, 0)).isEqualTo(refused(Errno.EBUSY));
        kernel.close(group);
        assertThat(user.open("/dev/vfio/1")).as("the device holds it").isEqualTo(refused(Errno.EBUSY));
        kernel.close(device);
        int again = user.open("/dev/vfio/1");
        assertThat(status(again)).isEqualTo(VIABLE);
        assertThat(user.ioctl(container, UapiVfio.VFIO_SET_IOMMU, UapiVfio.VFIO_TYPE1v2_IOMMU))
                .as("no group is left")
                .isEqualTo(refused(Errno.EINVAL));
    }

    @Test
    void numberOfAnEventfdIsNoVfioRequest() {
        assertThat(user.ioctl(user.event(), UapiVfio.VFIO_GROUP_SET_CONTAINER, number(0)))
                .isEqualTo(refused(Errno.ENOTTY));
    }

    @Test
    void sysfsNamesGroupDriverAndMembers() {
        kernel.pciDevice(NAME, 5).add();
        kernel.pciDevice("0000:00:02.1", 5).addToHost();
        HostFiles files = kernel.hostFiles();
        assertThat(files.list("sys/bus/pci/devices")).containsExactly(NAME, "0000:00:02.1");
        assertThat(files.linkName("sys/bus/pci/devices/" + NAME + "/iommu_group"))
                .contains("5");
        assertThat(files.linkName("sys/bus/pci/devices/" + NAME + "/driver")).contains("vfio-pci");
        assertThat(files.list("sys/kernel/iommu_groups/5/devices")).containsExactly(NAME, "0000:00:02.1");
        assertThat(files.linkName("sys/bus/pci/devices/0000:00:02.1/driver"))
                .isPresent()
                .isNotEqualTo(Optional.of("vfio-pci"));
        assertThat(files.linkName("sys/bus/pci/devices/" + NAME)).isEmpty();
        assertThat(files.list("sys/kernel/iommu_groups/6/devices")).isEmpty();
    }
}
