/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.KernelException;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.uapi.UapiVfio;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;

/** A BAR of a device that a guest has as memory. */
class RegionMappingTest {
    private static final int START = 0x1000;
    private static final int AT = 0xf000;
    private static final int BAR = 2;
    private static final String NAME = "0000:3b:00.0";
    /** Twice: {@code mov $value, %eax; mov %al, (0xf800); out %al, $0x82}. */
    private static final String CODE = "66b807000000a200f8e682" + "66b808000000a200f8e682";

    private final FakeKernel fake = new FakeKernel(Profile.of("6.12"));
    private final FakePciDevice hardware =
            fake.pciDevice(NAME, 7).express().msix(4).bar(BAR, 0x4000).add();

    @Test
    void guestReachesTheRegistersAsLongAsItHasThem() {
        try (Kernel kernel = Kernel.over(fake.backend(), Kernel.DEVICE);
                Vm vm = Vm.create(kernel);
                GuestMemory code = vm.addMemory(0, AT);
                Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
            code.mapping().put(START, HexFormat.of().parseHex(CODE));
            vcpu.startAt(START, 0x8000);
            VfioDevice device = VfioDevice.open(kernel, PciAddress.parse(NAME));
            Region region = device.region(BAR);
            assertThat(region.size()).isEqualTo(0x4000);
            assertThat(region.isMappable()).isTrue();
            Mapping.Owner registers = region.map(0x1000, 0x1000);
            GuestMemory slot = vm.addMemory(AT, registers.mapping());
            hardware.setRegister(BAR, 0x1004, 0x1234);
            assertThat(registers.mapping().getInt(4)).isEqualTo(0x1234);
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
        try (Kernel kernel = Kernel.over(fake.backend(), Kernel.DEVICE);
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
}
