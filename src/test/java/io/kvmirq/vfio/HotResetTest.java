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
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A device that is reset with its bus. */
class HotResetTest {
    private static final String NAME = "0000:3b:00.0";
    private static final int STATUS = 6;
    private static final int INTX_PENDING = 1 << 3;

    private static VfioDevice open(Kernel kernel, String name) {
        return VfioDevice.open(kernel, PciAddress.parse(name));
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12", "6.12,cdev"})
    void deviceThatIsAloneIsReset(String profile) {
        FakeKernel fake = new FakeKernel(Profile.parse(profile));
        FakePciDevice hardware = fake.pciDevice(NAME, 7).intx().add();
        try (Kernel kernel = fake.open();
                VfioDevice device = open(kernel, NAME)) {
            hardware.requestService();
            assertThat(device.config().getShort(STATUS) & INTX_PENDING).isNotZero();
            device.hotReset();
            assertThat(device.config().getShort(STATUS) & INTX_PENDING).isZero();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12,cdev"})
    void busThatOthersNeedIsNotReset(String profile) {
        FakeKernel fake = new FakeKernel(Profile.parse(profile));
        FakePciDevice hardware = fake.pciDevice(NAME, 7).intx().add();
        fake.pciDevice("0000:3b:00.1", 8).add();
        fake.pciDevice("0000:00:04.0", 9).add();
        try (Kernel kernel = fake.open();
                VfioDevice device = open(kernel, NAME);
                VfioDevice onRoot = open(kernel, "0000:00:04.0")) {
            hardware.requestService();
            assertThatThrownBy(device::hotReset)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining(NAME)
                    .hasMessageEndingWith("would reset other devices, too: 1");
            assertThat(device.config().getShort(STATUS) & INTX_PENDING).isNotZero();
            assertThatThrownBy(onRoot::hotReset)
                    .isInstanceOf(KernelException.class)
                    .hasMessageContaining("ENODEV");
        }
    }
}
