/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.PciAddress;
import io.kvmirq.fake.Faults;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.undo.Undo;
import java.util.List;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Memory for devices, and devices that share it: the same on the fake and on a real device. */
class VfioDmaTest {
    private static final int SIZE = 0x10000;
    private static final long IOVA = 0x1000_0000;

    @AutoClose
    private final Undo undo = new Undo();

    private Kernel kernel(TestDevice hardware) {
        hardware.address();
        return undo.add(hardware.kernel());
    }

    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void memoryIsMappedOnce(TestDevice hardware) {
        Kernel kernel = kernel(hardware);
        VfioDevice device = undo.add(VfioDevice.open(kernel, hardware.address()));
        Mapping memory = undo.add(Mapping.anonymous(kernel, SIZE)).mapping();
        DmaMapping mapping = device.dma().map(IOVA, memory);
        assertThat(mapping.iova()).isEqualTo(IOVA);
        assertThatThrownBy(() -> device.dma().mapReadOnly(IOVA, memory))
                .hasMessageContaining("iova=0x10000000 size=0x10000: EEXIST (a part of the range is mapped already)");
        mapping.close();
        mapping.close();
        device.dma().mapReadOnly(IOVA, memory).close();
    }

    /** On x86 the addresses from 0xfee00000 are of messages, on arm64 those from 0x8000000. */
    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void memoryIsMappedInTheRangesOnly(TestDevice hardware) {
        Kernel kernel = kernel(hardware);
        VfioDevice device = undo.add(VfioDevice.open(kernel, hardware.address()));
        Mapping memory = undo.add(Mapping.anonymous(kernel, SIZE)).mapping();
        List<DmaRange> ranges = device.dma().ranges();
        DmaRange low = ranges.get(0);
        assertThat(low.first()).isZero();
        assertThat(low.contains(0, SIZE - 1)).isTrue();
        assertThat(low.contains(0, low.last() + 1)).isFalse();
        assertThat(ranges.get(1).first()).isGreaterThan(low.last());
        device.dma().map(low.last() + 1 - SIZE, memory).close();
        assertThatThrownBy(() -> device.dma().map(low.last() + 1 - SIZE / 2, memory))
                .hasMessageContaining("EINVAL (");
        if (device.dma() instanceof VfioContainer container) {
            ContainerInfo info = container.info();
            assertThat(info.ranges()).isEqualTo(ranges);
            assertThat(info.pageSizes() & 4096).isNotZero();
            assertThat(info.mappingsLeft()).hasValue(65535);
            assertThat(info.dirtyPageSizes()).hasValue(4096);
        }
    }

    /** A container has no IOMMU driver before its first group. */
    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void containerWithoutGroupMapsNothing(TestDevice hardware) {
        Kernel kernel = kernel(hardware);
        Mapping memory = undo.add(Mapping.anonymous(kernel, SIZE)).mapping();
        VfioContainer container = undo.add(VfioContainer.create(kernel));
        assertThatThrownBy(() -> container.map(IOVA, memory)).hasMessageContaining("EINVAL (");
        assertThatThrownBy(container::ranges)
                .hasMessageContaining("vfio iommu info vfio container")
                .hasMessageContaining("EINVAL (the container has no IOMMU type yet)");
        assertThat(container.isCoherent()).isFalse();
        VfioGroup group = undo.add(VfioGroup.open(kernel, hardware.address()));
        undo.add(group.openDevice(hardware.address(), container));
        container.map(IOVA, memory).close();
    }

    /** Containers and groups of a VMM are used as they are. */
    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void whatAVmmOpenedIsAdopted(TestDevice hardware) {
        Kernel kernel = kernel(hardware);
        VfioContainer container = undo.add(VfioContainer.create(kernel));
        VfioGroup group = undo.add(VfioGroup.open(kernel, hardware.address()));
        VfioDevice device = undo.add(group.openDevice(hardware.address(), container));
        Fd.Lease leased = undo.add(group.fd().lease());
        VfioGroup adopted = undo.add(VfioGroup.adopt(kernel, leased.number(), Ownership.BORROWED));
        VfioDevice second = undo.add(adopted.openDevice(hardware.address()));
        assertThat(second.info()).isEqualTo(device.info());
        assertThatThrownBy(() -> group.openDevice(hardware.address()))
                .hasMessageContaining("was opened here: name the container for its devices");
        Fd.Lease file = undo.add(second.fd().lease());
        VfioDevice third = undo.add(VfioDevice.adopt(kernel, hardware.address(), file.number(), Ownership.BORROWED));
        assertThat(List.of(device.access(), second.access(), third.access()))
                .containsExactly(VfioDevice.Access.GROUP, VfioDevice.Access.GROUP, VfioDevice.Access.ADOPTED);
        assertThatThrownBy(third::dma).hasMessageContaining("was not opened with a DMA space of its own");
        Fd.Lease space = undo.add(container.file().lease());
        VfioContainer same = undo.add(VfioContainer.adopt(kernel, space.number(), Ownership.BORROWED));
        Mapping memory = undo.add(Mapping.anonymous(kernel, SIZE)).mapping();
        same.map(IOVA, memory).close();
    }

    /** A container forgets its mappings with its last group. */
    @ParameterizedTest
    @MethodSource("io.kvmirq.vfio.TestDevice#lines")
    void mappingThatTheKernelForgotIsNotUnmapped(TestDevice hardware) {
        Kernel kernel = kernel(hardware);
        Mapping memory = undo.add(Mapping.anonymous(kernel, SIZE)).mapping();
        VfioContainer container = undo.add(VfioContainer.create(kernel));
        VfioGroup group = VfioGroup.open(kernel, hardware.address());
        VfioDevice first = group.openDevice(hardware.address(), container);
        DmaMapping forgotten = container.map(IOVA, memory);
        first.close();
        group.close();
        VfioGroup again = undo.add(VfioGroup.open(kernel, hardware.address()));
        undo.add(again.openDevice(hardware.address(), container));
        DmaMapping mapping = container.map(IOVA, memory);
        forgotten.close();
        assertThatThrownBy(() -> container.map(IOVA, memory)).hasMessageContaining("EEXIST");
        mapping.close();
        container.map(IOVA, memory).close();
    }

    /** Devices can still DMA to the pages, so munmap waits until the DMA mapping is closed. */
    @ParameterizedTest
    @ValueSource(strings = {"6.1", "7.1,cdev"})
    void memoryStaysUntilItIsUnmappedFromDevices(String profile) {
        Faults faults = new Faults();
        Kernel kernel =
                undo.add(Kernel.over(faults.over(TestDevice.fake(profile).fake.backend())));
        VfioDevice device = undo.add(VfioDevice.open(kernel, TestDevice.FAKE));
        Mapping.Owner memory = Mapping.anonymous(kernel, SIZE);
        DmaMapping mapping = device.dma().map(IOVA, memory.mapping());
        faults.listen();
        memory.close();
        assertThat(faults.calls()).isEmpty();
        mapping.close();
        assertThat(faults.calls()).hasSize(2).last().isEqualTo("munmap");
    }

    /** A group is open once: its devices share the file, and may share the space. */
    @Test
    void devicesOfOneGroupAreOpenedThroughOneFile() {
        TestDevice.Fake hardware = TestDevice.fake("6.12");
        PciAddress other = PciAddress.parse("0000:00:02.1");
        hardware.fake.pciDevice(other.toString(), 5).msix(1).add();
        Kernel kernel = kernel(hardware);
        VfioFile file = undo.add(VfioFile.open(kernel, TestDevice.FAKE));
        DmaSpace space = undo.add(file.createSpace());
        VfioDevice first = undo.add(file.openDevice(space, TestDevice.FAKE));
        assertThatThrownBy(() -> VfioDevice.open(kernel, other))
                .hasMessageContaining("EBUSY (a process, maybe this one, has the group open")
                .hasMessageContaining("open a group's devices through one VfioGroup");
        VfioDevice second = undo.add(file.openDevice(space, other));
        assertThat(List.of(first.name(), second.name())).containsExactly(TestDevice.FAKE, other);
    }
}
