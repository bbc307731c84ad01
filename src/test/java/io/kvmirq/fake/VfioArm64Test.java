/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.VfioUser.MASTER;
import static io.kvmirq.fake.VfioUser.MSIX;
import static io.kvmirq.fake.VfioUser.NAME;
import static io.kvmirq.fake.VfioUser.refused;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.ItsCommand;
import io.kvmirq.arch.gic.model.RedistributorRegister;
import io.kvmirq.backend.Buffers;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kernel.Undo;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIrqInfo;
import java.nio.ByteBuffer;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A PCI device of an arm64 host, and its messages on their way to the VGIC. */
class VfioArm64Test {
    private static final long MEMORY = 0x4000_0000L;
    private static final int DEVICES = 0x1_0000;
    private static final int COLLECTIONS = 0x2_0000;
    private static final int PROPERTIES = 0x3_0000;
    private static final int PENDING = 0x4_0000;
    private static final int EVENTS = 0x5_0000;
    private static final long VALID = 1L << 63;
    private static final long DOORBELL = 0x808_0000L;
    private static final int LPI = 8200;

    private final VfioUser user = new VfioUser("6.12,arm64");
    private final FakePciDevice hardware =
            user.kernel.pciDevice(NAME, 1).msix(4).add();
    private final Undo made = new Undo();

    @AfterEach
    void close() {
        made.close();
        user.close();
    }

    @Test
    void messageMakesTheLpiPending() {
        Kernel kernel = made.add(Kernel.over(user.kernel.backend(), Kernel.DEVICE));
        Vm vm = made.add(Vm.create(kernel));
        Vcpu vcpu = made.add(vm.createVcpu(new VcpuId(0)));
        vcpu.initialize();
        VgicV3 vgic = made.add(vm.createVgicV3());
        vgic.setDistributor(0x800_0000L);
        vgic.setRedistributors(0x80a_0000L);
        vgic.init();
        Its its = made.add(vm.createIts());
        its.setAddress(DOORBELL);
        its.init();
        Mapping memory = made.add(vm.addMemory(MEMORY, 0x6_0000)).mapping();
        enableLpis(vgic);
        int requester = PciAddress.parse(NAME).requesterId();
        int end = 0;
        for (long[] command : List.of(
                ItsCommand.mapDevice(requester, 5, MEMORY + EVENTS),
                ItsCommand.mapCollection(1, 0),
                ItsCommand.mapEvent(requester, 3, LPI, 1))) {
            memory.put(end, ItsCommand.bytes(command));
            end += ItsCommand.SIZE;
        }
        its.writeRegister(io.kvmirq.arch.gic.model.Its.CBASER, VALID | MEMORY);
        its.writeRegister(io.kvmirq.arch.gic.model.Its.BASER_DEVICES, VALID | MEMORY + DEVICES);
        its.writeRegister(io.kvmirq.arch.gic.model.Its.BASER_COLLECTIONS, VALID | MEMORY + COLLECTIONS);
        its.writeRegister(io.kvmirq.arch.gic.model.Its.CTLR, 1);
        its.writeRegister(io.kvmirq.arch.gic.model.Its.CWRITER, end);

        int device = user.device(1);
        int number = user.event();
        EventFd event = made.add(EventFd.adopt(kernel, number, Ownership.OWNED));
        made.add(vm.assignIrqfd(event, vm.routes().add(MsiMessage.toIts(DOORBELL, requester, 3))));
        assertThat(user.arm(device, MSIX, 2, number)).isZero();
        assertThat(hardware.sendMessage(2)).as("no bus master").isFalse();
        user.writeCommand(device, MASTER);
        assertThat(isPending(vgic, memory)).isFalse();
        assertThat(hardware.sendMessage(2)).isTrue();
        assertThat(isPending(vgic, memory)).isTrue();
    }

    private static void enableLpis(VgicV3 vgic) {
        VcpuId first = new VcpuId(0);
        write(vgic, first, RedistributorRegister.GICR_PROPBASER, MEMORY + PROPERTIES | 15);
        write(vgic, first, RedistributorRegister.GICR_PENDBASER, MEMORY + PENDING);
        vgic.writeRedistributor(first, RedistributorRegister.GICR_CTLR.offset(), 1);
    }

    private static void write(VgicV3 vgic, VcpuId vcpu, RedistributorRegister register, long value) {
        vgic.writeRedistributor(vcpu, register.offset(), (int) value);
        vgic.writeRedistributor(vcpu, register.offset() + Integer.BYTES, (int) (value >>> Integer.SIZE));
    }

    private static boolean isPending(VgicV3 vgic, Mapping memory) {
        vgic.savePendingTables();
        return (memory.getByte(PENDING + LPI / Byte.SIZE) >>> LPI % Byte.SIZE & 1) != 0;
    }

    @Test
    void messageReachesAnSpi() {
        Kernel kernel = made.add(Kernel.over(user.kernel.backend(), Kernel.DEVICE));
        Vm vm = made.add(Vm.create(kernel));
        made.add(vm.createVcpu(new VcpuId(0)));
        VgicV3 vgic = made.add(vm.createVgicV3());
        vgic.init();
        int device = user.device(1);
        int number = user.event();
        EventFd event = made.add(EventFd.adopt(kernel, number, Ownership.OWNED));
        made.add(vm.assignIrqfd(event, new Gsi(7)));
        assertThat(user.arm(device, MSIX, 0, number)).isZero();
        user.writeCommand(device, MASTER);
        assertThat(hardware.sendMessage(0)).isTrue();
        assertThat(vgic.isLatched(new Spi(32 + 7))).isTrue();
    }

    /** As e1000e in the lab, on 6.1 and 6.12. */
    @Test
    void vectorsOfMsixAreAllocatedAtOnce() {
        int device = user.device(1);
        ByteBuffer info = Buffers.allocate(VfioIrqInfo.SIZE)
                .putInt(VfioIrqInfo.ARGSZ, VfioIrqInfo.SIZE)
                .putInt(VfioIrqInfo.INDEX, MSIX);
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, info)).isZero();
        assertThat(info.getInt(VfioIrqInfo.FLAGS))
                .isEqualTo(UapiVfio.VFIO_IRQ_INFO_EVENTFD | UapiVfio.VFIO_IRQ_INFO_NORESIZE);
        assertThat(user.arm(device, MSIX, 0, user.event())).isZero();
        assertThat(user.arm(device, MSIX, 1, user.event())).isEqualTo(refused(Errno.EINVAL));
    }

    /** The window that the SMMU drivers reserve for the messages of the host. */
    @Test
    void windowOfMessagesIsReserved() {
        int container = user.container();
        int group = user.open("/dev/vfio/1");
        assertThat(user.setContainer(group, container)).isZero();
        assertThat(user.ioctl(container, UapiVfio.VFIO_SET_IOMMU, UapiVfio.VFIO_TYPE1v2_IOMMU))
                .isZero();
        long memory = user.kernel.mmap(4096, 3, 0x22, -1, 0);
        for (long reserved : new long[] {0x8000000L, 0x80ff000L}) {
            assertThat(user.ioctl(container, UapiVfio.VFIO_IOMMU_MAP_DMA, VfioUser.map(32, 3, memory, reserved, 4096)))
                    .isEqualTo(refused(Errno.EINVAL));
        }
        for (long free : new long[] {0x7fff000L, 0x8100000L, 0xfee00000L}) {
            assertThat(user.ioctl(container, UapiVfio.VFIO_IOMMU_MAP_DMA, VfioUser.map(32, 3, memory, free, 4096)))
                    .isZero();
        }
    }
}
