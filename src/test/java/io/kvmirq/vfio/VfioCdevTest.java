/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.kvmirq.Errno;
import io.kvmirq.PciAddress;
import io.kvmirq.fake.Faults;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.Vm;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Devices by their own files and an iommufd. */
class VfioCdevTest {
    private final TestDevice.Fake hardware = TestDevice.fake("7.1,cdev");
    private final Faults faults = new Faults();
    private final Kernel kernel = Kernel.over(faults.over(hardware.fake.backend()));

    /** The file is bound after KVM has it, and KVM lets go before it is closed. */
    @Test
    void fileIsAddedBeforeItIsBoundAndRemovedBeforeItIsClosed() {
        try (Vm vm = Vm.create(kernel);
                KvmVfio kvmVfio = KvmVfio.create(vm)) {
            faults.listen();
            VfioDevice device = VfioDevice.open(kernel, TestDevice.FAKE, kvmVfio);
            assertThat(device.access()).isEqualTo(VfioDevice.Access.CDEV);
            assertThat(faults.calls())
                    .containsSubsequence(
                            "open",
                            "deviceVfioAdd",
                            "open",
                            "IOMMU_IOAS_ALLOC",
                            "VFIO_DEVICE_BIND_IOMMUFD",
                            "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
            ArmedVectors armed = device.msix(0, 1).arm(List.of(EventFd.create(kernel)));
            faults.listen();
            device.close();
            assertThat(faults.calls()).containsExactly("vfioIrqsSet", "deviceVfioRemove", "fdClose", "fdClose");
            armed.close();
        }
    }

    @Test
    void theGroupCanBeChosen() {
        try (VfioGroup group = VfioGroup.open(kernel, TestDevice.FAKE);
                VfioContainer container = group.createSpace();
                VfioDevice device = group.openDevice(TestDevice.FAKE, container)) {
            assertThat(device.access()).isEqualTo(VfioDevice.Access.GROUP);
            assertThatThrownBy(() -> VfioDevice.open(kernel, TestDevice.FAKE)).hasMessageContaining("EBUSY");
        }
        VfioDevice.open(kernel, TestDevice.FAKE).close();
    }

    /** Two devices of one iommufd share addresses. */
    @Test
    void devicesShareASpace() {
        PciAddress other = PciAddress.parse("0000:00:03.0");
        hardware.fake.pciDevice(other.toString(), 6).add();
        try (Ioas space = Ioas.create(kernel);
                VfioCdev first = VfioCdev.open(kernel, TestDevice.FAKE);
                VfioCdev second = VfioCdev.open(kernel, other);
                VfioDevice nic = first.openDevice(space);
                VfioDevice disk = second.openDevice(space);
                Mapping.Owner memory = Mapping.anonymous(kernel, 0x1000)) {
            assertThat(List.of(nic.name(), disk.name())).containsExactly(TestDevice.FAKE, other);
            space.map(0, memory.mapping()).close();
            assertThatThrownBy(() -> first.openDevice(space))
                    .hasMessageContaining("is open already: use its VfioDevice");
        }
    }

    @Test
    void kernelWithoutDeviceFilesIsExplained() {
        Kernel without = TestDevice.fake("7.1").kernel();
        assertThatThrownBy(() -> VfioCdev.open(without, TestDevice.FAKE))
                .hasMessageContaining(
                        "ENOENT (the device is not bound to a VFIO driver, or the kernel has no VFIO device");
        assertThatThrownBy(() -> Ioas.create(without))
                .hasMessage(
                        "iommufd open /dev/iommu: ENOENT (iommufd is not loaded, or was not built (CONFIG_IOMMUFD))");
    }

    @Test
    void otherFilesAreRefusedByName() {
        int event = hardware.fake.backend().libc().eventfd(0, 0);
        try (Ioas space = Ioas.create(kernel);
                VfioCdev wrong = VfioCdev.adopt(kernel, TestDevice.FAKE, event, Ownership.OWNED)) {
            assertThatThrownBy(() -> wrong.openDevice(space)).hasMessageContaining("vfio device bind ");
            assertThatThrownBy(() -> Ioas.createIn(kernel, event, Ownership.BORROWED))
                    .hasMessageContaining("ioas create iommufd (fd " + event + "): ENOTTY");
        }
        Fd.Lease group;
        try (VfioGroup file = VfioGroup.open(kernel, TestDevice.FAKE)) {
            group = file.fd().lease();
            assertThatThrownBy(() -> VfioDevice.adopt(kernel, TestDevice.FAKE, group.number(), Ownership.BORROWED))
                    .hasMessageContaining("ENOTTY");
        }
        group.close();
    }

    /** The driver takes the VM when the file is bound. */
    @Test
    void fileThatWasBoundIsTooLateForKvm() {
        try (Vm vm = Vm.create(kernel);
                KvmVfio kvmVfio = KvmVfio.create(vm);
                Ioas space = Ioas.create(kernel);
                VfioCdev file = VfioCdev.open(kernel, TestDevice.FAKE)) {
            faults.fail("VFIO_DEVICE_ATTACH_IOMMUFD_PT", 1, Errno.ENOMEM);
            assertThatThrownBy(() -> file.openDevice(space)).hasMessageContaining("ENOMEM");
            assertThatThrownBy(() -> kvmVfio.hold(file)).isInstanceOf(IllegalStateException.class);
            assertThatThrownBy(() -> file.openDevice(space)).hasMessageContaining("is bound already");
        }
        VfioDevice.open(kernel, TestDevice.FAKE).close();
    }

    /** The iommufd of another program keeps nothing of ours. */
    @Test
    void spaceInABorrowedIommufdGoesWithItsLastUse() {
        try (Ioas others = Ioas.create(kernel);
                Fd.Lease iommufd = others.file().lease();
                Mapping.Owner memory = Mapping.anonymous(kernel, 0x1000);
                VfioCdev file = VfioCdev.open(kernel, TestDevice.FAKE)) {
            Ioas space = Ioas.createIn(kernel, iommufd.number(), Ownership.BORROWED);
            DmaMapping mapping = space.map(0, memory.mapping());
            VfioDevice device = file.openDevice(space);
            faults.listen();
            space.close();
            assertThat(faults.calls()).isEmpty();
            mapping.close();
            assertThat(faults.calls()).containsExactly("IOMMU_IOAS_UNMAP");
            device.close();
            assertThat(faults.calls()).containsExactly("IOMMU_IOAS_UNMAP", "fdClose", "IOMMU_DESTROY");
            others.map(0, memory.mapping()).close();
        }
    }

    @Test
    void refusedIommufdStaysTheCallers() {
        int event = hardware.fake.backend().libc().eventfd(0, 0);
        assertThatThrownBy(() -> Ioas.createIn(kernel, event, Ownership.OWNED)).hasMessageContaining("ENOTTY");
        assertThat(hardware.fake.backend().libc().close(event)).isZero();
    }

    /** As in a container that has not all nodes, or not for this user. */
    @ParameterizedTest
    @CsvSource({"1, ENOENT", "1, EACCES", "2, ENOENT", "2, EACCES"})
    void groupIsUsedWhereANodeIsMissing(int nth, String errno) {
        faults.fail("open", nth, Errno.parse(errno).orElseThrow());
        try (VfioDevice device = VfioDevice.open(kernel, TestDevice.FAKE)) {
            assertThat(device.access()).isEqualTo(VfioDevice.Access.GROUP);
        }
        faults.clear();
        faults.fail("open", nth, Errno.parse(errno).orElseThrow()).fail("open", nth + 1, Errno.EBUSY);
        Throwable failed = catchThrowable(() -> VfioDevice.open(kernel, TestDevice.FAKE));
        assertThat(failed).hasMessageStartingWith("vfio group open /dev/vfio/5: EBUSY");
        assertThat(failed.getSuppressed()).singleElement().asString().contains(errno);
        VfioDevice.open(kernel, TestDevice.FAKE).close();
    }
}
