/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.NotModelledException;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.contract.VfioWorld;
import java.util.Optional;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;

/** Containers and groups of VFIO on hosts that the lab does not have. */
class VfioGroupTest {
    private static final String NAME = "0000:00:02.0";
    private static final String OTHER = "0000:00:03.0";

    @AutoClose
    private final VfioWorld vfio = VfioWorld.ofFake("6.12");

    private final FakeKernel kernel = vfio.fake();

    private int group() {
        return vfio.open("/dev/vfio/1");
    }

    @Test
    void hostWithoutDevicesHasNoVfio() {
        assertErrno(Errno.ENOENT, vfio.open("/dev/vfio/vfio"));
        assertErrno(Errno.ENOENT, group());
        kernel.pciDevice(NAME, 1).addToHost();
        assertErrno(Errno.ENOENT, vfio.open("/dev/vfio/vfio"));
        assertErrno(Errno.ENOENT, group());
        kernel.pciDevice(OTHER, 2).add();
        assertOk(vfio.container());
        assertErrno(Errno.ENOENT, group());
        assertOk(vfio.open("/dev/vfio/2"));
    }

    @Test
    void devicesThatCannotBeAreRefused() {
        kernel.pciDevice(NAME, 1).add();
        assertIllegalArgument(
                () -> kernel.pciDevice(NAME, 2).add(),
                "a device has the address 0000:00:02.0 already: use another one");
        assertIllegalArgument(
                () -> kernel.pciDevice(OTHER, 1).msi(3), "3 vectors of MSI: expected 1, 2, 4, 8, 16 or 32");
        assertIllegalArgument(() -> kernel.pciDevice(OTHER, 1).msix(2049), "2049 vectors of MSI-X: expected 1 to 2048");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> kernel.pciDevice("nvme0", 1))
                .withMessageStartingWith("'nvme0' is not a PCI address");
    }

    @Test
    void fullDescriptorTableLeavesTheGroupClosed() {
        kernel.pciDevice(NAME, 1).add();
        kernel.limitDescriptors(3);
        assertErrno(Errno.EMFILE, group());
        kernel.limitDescriptors(100);
        assertOk(group());
    }

    @Test
    void descriptorOfADeviceIsReservedBeforeTheContainerIsLookedAt() {
        kernel.pciDevice(NAME, 1).add();
        int group = group();
        kernel.limitDescriptors(group + 1);
        assertErrno(Errno.EMFILE, vfio.deviceFd(group, NAME));
        kernel.limitDescriptors(100);
        assertErrno(Errno.EINVAL, vfio.deviceFd(group, NAME));
        vfio.attach(group);
        assertThatThrownBy(() -> vfio.deviceFd(group, NAME + " vf_token=0")).isInstanceOf(NotModelledException.class);
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
