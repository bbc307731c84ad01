/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.KernelException;
import io.kvmirq.PciAddress;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.CpuTime;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioRegionInfo;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.Test;

/** A BAR of a device that a guest has as memory. */
class RegionMappingTest {
    private static final int AT = AssembledGuest.SIZE;
    private static final int BAR = 2;
    private static final String NAME = "0000:3b:00.0";
    private static final String CODE =
            "mov eax, 7; mov [0xf800], al; out 0x82, al; mov eax, 8; mov [0xf800], al; out 0x82, al";

    private final FakeKernel fake = new FakeKernel(Profile.parse("6.12"));
    private final FakePciDevice hardware =
            fake.pciDevice(NAME, 7).express().msix(4).bar(BAR, 0x4000).add();

    @Test
    void guestReachesTheRegistersAsLongAsItHasThem() {
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel);
                AssembledGuest guest = new AssembledGuest(vm, CODE)) {
            Vcpu vcpu = guest.vcpu;
            VfioDevice device = VfioDevice.open(kernel, PciAddress.parse(NAME));
            Region region = device.region(BAR);
            assertThat(region.size()).isEqualTo(0x4000);
            assertThat(region.isMappable()).isTrue();
            Mapping.Owner registers = region.map(0x1000, 0x1000);
            GuestMemory slot = vm.addMemory(AT, registers.mapping());
            hardware.setRegister(BAR, 0x1004, 0x1234);
            assertThatThrownBy(() -> registers.mapping().getInt(4))
                    .isInstanceOf(UnsupportedOperationException.class)
                    .hasMessageMatching("the mapping of vfio device " + NAME
                            + " \\(fd \\d+\\) is for the guest: an access from here could raise SIGBUS, while a"
                            + " device's"
                            + " memory space is off or after a file shrank; use read and write of the device's region,"
                            + " or Mapping.of of a memfd");
            assertThatThrownBy(() -> registers.mapping().put(0, new byte[8]))
                    .isInstanceOf(UnsupportedOperationException.class);
            assertThat(region.getInt(0x1004)).isEqualTo(0x1234);
            assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.IO);
            assertThat(hardware.register(BAR, 0x1800)).isEqualTo(7);
            assertThat(region.getInt(0x1800)).isEqualTo(7);
            region.putInt(0x1800, 0);
            registers.close();
            device.close();
            assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.IO);
            assertThat(hardware.register(BAR, 0x1800)).isEqualTo(8);
            slot.close();
        }
    }

    @Test
    void whatIsNoPartOfABarIsRefused() {
        try (Kernel kernel = fake.open();
                VfioDevice device = VfioDevice.open(kernel, PciAddress.parse(NAME))) {
            assertThat(device.region(0).size()).isZero();
            assertThat(device.region(0).isMappable()).isFalse();
            Region bar = device.region(BAR);
            for (long[] part : new long[][] {{0x4000, 0x1000}, {0x1000, 0x4000}, {0, 0x8000}}) {
                assertThatThrownBy(() -> bar.map(part[0], part[1]))
                        .isInstanceOf(IndexOutOfBoundsException.class)
                        .hasMessageContaining("is outside of region " + BAR)
                        .hasMessageEndingWith("which has 16384 bytes");
            }
            // The offset of another region of the device.
            assertThatThrownBy(() -> bar.map(1L << 40, 0x1000)).isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(() -> device.region(0).map(0, 0x1000)).isInstanceOf(IndexOutOfBoundsException.class);
            Region config = device.region(UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX);
            assertThatThrownBy(() -> config.map(0, config.size()))
                    .isInstanceOf(KernelException.class)
                    .hasMessageContaining("mmap vfio device " + NAME)
                    .hasMessageContaining("only a BAR of whole pages can be mapped");
            assertThatThrownBy(() -> bar.getInt(0x4000)).isInstanceOf(IndexOutOfBoundsException.class);
        }
    }

    @Test
    void registersAreReadAndWrittenByTheirSize() {
        try (Kernel kernel = fake.open();
                VfioDevice device = VfioDevice.open(kernel, PciAddress.parse(NAME))) {
            Region bar = device.region(BAR);
            assertThat(bar.mappable()).containsExactly(new Region.Area(0, 0x4000));
            assertThat(device.region(0).mappable()).isEmpty();
            bar.write(0x108, 8, 0x8122334455667788L);
            assertThat(bar.read(0x108, 8)).isEqualTo(0x8122334455667788L);
            assertThat(bar.read(0x10c, 4)).isEqualTo(0x81223344L);
            assertThat(bar.read(0x108, 2)).isEqualTo(0x7788);
            assertThat(bar.read(0x10f, 1)).isEqualTo(0x81);
            bar.write(0x109, 1, 0x199);
            assertThat(hardware.register(BAR, 0x108)).isEqualTo(0x55669988);
            assertThatThrownBy(() -> bar.read(0x104, 8)).isInstanceOf(IllegalArgumentException.class);
            assertThatThrownBy(() -> bar.write(0x4000, 1, 0)).isInstanceOf(IndexOutOfBoundsException.class);
        }
    }

    /** As a driver tells that emulates a page: another capability, then the areas beside the page. */
    @Test
    void driverNamesTheAreasThatCanBeMapped() {
        ByteBuffer info = ByteBuffer.allocate(88).order(ByteOrder.nativeOrder());
        info.putInt(VfioRegionInfo.FLAGS, UapiVfio.VFIO_REGION_INFO_FLAG_MMAP | UapiVfio.VFIO_REGION_INFO_FLAG_CAPS);
        info.putInt(VfioRegionInfo.CAP_OFFSET, 32).putLong(VfioRegionInfo.LENGTH, 0x4000);
        info.putShort(32, (short) 3).putInt(36, 40);
        info.putShort(40, (short) UapiVfio.VFIO_REGION_INFO_CAP_SPARSE_MMAP).putInt(48, 2);
        info.putLong(56, 0).putLong(64, 0x1000).putLong(72, 0x2000).putLong(80, 0x2000);
        assertThat(Region.areas(info)).containsExactly(new Region.Area(0, 0x1000), new Region.Area(0x2000, 0x2000));
        info.putInt(36, 0);
        assertThat(Region.areas(info)).containsExactly(new Region.Area(0, 0x4000));
        info.putInt(VfioRegionInfo.FLAGS, UapiVfio.VFIO_REGION_INFO_FLAG_CAPS);
        assertThat(Region.areas(info)).isEmpty();
    }

    @Test
    void chainOfCapabilitiesThatLeadsNowhereEndsInOneSentence() {
        ByteBuffer info = ByteBuffer.allocate(64).order(ByteOrder.nativeOrder());
        info.putInt(VfioRegionInfo.FLAGS, UapiVfio.VFIO_REGION_INFO_FLAG_MMAP | UapiVfio.VFIO_REGION_INFO_FLAG_CAPS);
        info.putInt(VfioRegionInfo.CAP_OFFSET, 32);
        info.putShort(32, (short) 3).putShort(40, (short) 3).putInt(36, 40);
        for (int next : new int[] {32, 40, -8, 4, 1 << 20}) {
            info.putInt(44, next);
            CpuTime.within(CpuTime.OF_AN_INPUT, () -> assertThatThrownBy(() -> Region.areas(info))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage("VFIO_DEVICE_GET_REGION_INFO: the capability at 40 names " + next
                            + " as the next one: expected 0, or more than 40 within the 64 bytes"));
        }
        info.putInt(44, 0)
                .putInt(VfioRegionInfo.CAP_OFFSET, 40)
                .putShort(40, (short) 1)
                .putInt(48, 7);
        assertThatThrownBy(() -> Region.areas(info))
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("VFIO_DEVICE_GET_REGION_INFO: the capability at 40 names 7 areas: they do not fit in the"
                        + " 64 bytes");
    }
}
