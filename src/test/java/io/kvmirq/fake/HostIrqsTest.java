/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.VfioUser.MSI;
import static io.kvmirq.fake.VfioUser.MSIX;
import static io.kvmirq.fake.VfioUser.NAME;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.host.HostInterrupts;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The interrupts of devices in /proc/interrupts and sysfs. */
class HostIrqsTest {
    @ParameterizedTest
    @ValueSource(strings = {"6.1", "7.1", "6.12,arm64"})
    void vectorWithAnEventfdHasACounter(String profile) {
        try (VfioUser user = new VfioUser(profile)) {
            FakePciDevice hardware =
                    user.kernel.pciDevice(NAME, 1).msi(4).msix(8).add();
            int device = user.device(1);
            user.writeCommand(device, VfioUser.MASTER);
            int event = user.event();
            assertThat(user.arm(device, MSIX, 0, -1, event)).isZero();
            assertThat(hardware.sendMessage(1)).isTrue();
            assertThat(hardware.sendMessage(1)).isTrue();
            assertThat(hardware.sendMessage(0)).isFalse();
            String chip = profile.endsWith("arm64") ? "ITS" : "IR";
            assertThat(interrupts(user))
                    .contains(" 32:  0  " + chip + "-PCI-MSIX-" + NAME + "  0-edge\n")
                    .contains(" 33:  2  " + chip + "-PCI-MSIX-" + NAME + "  1-edge  vfio-msix[1](" + NAME + ")");
            assertThat(new HostInterrupts(interrupts(user)).armed(PciAddress.parse(NAME)))
                    .hasSize(1);
            assertThat(user.kernel.hostFiles().list("sys/bus/pci/devices/" + NAME + "/msi_irqs"))
                    .containsExactlyInAnyOrder("32", "33");

            user.disable(device, MSIX);
            assertThat(interrupts(user)).doesNotContain(NAME);
            user.arm(device, MSI, 0, -1, event);
            assertThat(interrupts(user)).contains(" 33:  0  ").contains("vfio-msi[1](" + NAME + ")");
        }
    }

    private static String interrupts(VfioUser user) {
        return user.kernel.hostFiles().text("proc/interrupts").orElseThrow();
    }
}
