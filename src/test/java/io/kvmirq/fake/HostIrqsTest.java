/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.OpenedDevice.MSI;
import static io.kvmirq.contract.OpenedDevice.MSIX;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.contract.OpenedDevice;
import io.kvmirq.contract.VfioWorld;
import io.kvmirq.host.HostInterrupts;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The interrupts of devices in /proc/interrupts and sysfs. */
class HostIrqsTest {
    private static final String NAME = "0000:00:02.0";

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "7.1", "6.12,arm64"})
    void vectorWithAnEventfdHasACounter(String profile) {
        try (VfioWorld vfio = VfioWorld.ofFake(profile)) {
            FakePciDevice hardware =
                    vfio.fake().pciDevice(NAME, 1).msi(4).msix(8).add();
            OpenedDevice device = vfio.device(hardware, 1, NAME);
            device.writeCommand(OpenedDevice.MASTER);
            int event = vfio.world.eventfd();
            assertOk(device.arm(MSIX, 0, -1, event));
            assertThat(hardware.sendMessage(1)).isTrue();
            assertThat(hardware.sendMessage(1)).isTrue();
            assertThat(hardware.sendMessage(0)).isFalse();
            String chip = profile.endsWith("arm64") ? "ITS" : "IR";
            assertThat(interrupts(vfio))
                    .contains(" 32:  0  " + chip + "-PCI-MSIX-" + NAME + "  0-edge\n")
                    .contains(" 33:  2  " + chip + "-PCI-MSIX-" + NAME + "  1-edge  vfio-msix[1](" + NAME + ")");
            assertThat(new HostInterrupts(interrupts(vfio)).armed(PciAddress.parse(NAME)))
                    .hasSize(1);
            assertThat(vfio.fake().hostFiles().list("sys/bus/pci/devices/" + NAME + "/msi_irqs"))
                    .containsExactlyInAnyOrder("32", "33");

            assertOk(device.disable(MSIX));
            assertThat(interrupts(vfio)).doesNotContain(NAME);
            assertOk(device.arm(MSI, 0, -1, event));
            assertThat(interrupts(vfio)).contains(" 33:  0  ").contains("vfio-msi[1](" + NAME + ")");
        }
    }

    private static String interrupts(VfioWorld vfio) {
        return vfio.fake().hostFiles().text("proc/interrupts").orElseThrow();
    }
}
