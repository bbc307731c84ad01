/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.vfio.HostIrqs;
import io.kvmirq.vfio.VfioDevice;
import org.junit.jupiter.api.Test;

/** Which host irq serves a vector, by the names of handlers in /proc/interrupts. */
class HostIrqsTest {
    private static final PciAddress ADDRESS = PciAddress.parse("0000:00:02.0");

    @Test
    void vectorIsFoundByDeviceKindAndNumber() throws Exception {
        HostIrqs irqs =
                new HostFacts(RecordedHost.of("amd-6.12").tree()).interrupts().orElseThrow();
        FakeKernel fake = new FakeKernel(Profile.V6_12);
        fake.pciDevice(ADDRESS.toString(), 1).intx().msi(1).msix(6).add();
        PciAddress other = PciAddress.parse("0000:00:09.0");
        fake.pciDevice(other.toString(), 9).msix(6).add();
        try (Kernel kernel = Kernel.over(fake.backend(), Kernel.DEVICE);
                VfioDevice device = VfioDevice.open(kernel, ADDRESS);
                VfioDevice another = VfioDevice.open(kernel, other)) {
            assertThat(irqs.of(device.msix().get(0))).contains(new HostIrq(27));
            assertThat(irqs.of(device.msix().get(4))).contains(new HostIrq(31));
            assertThat(irqs.of(device.msix().get(5))).as("not armed there").isEmpty();
            assertThat(irqs.of(device.msi(0, 1).get(0))).isEmpty();
            assertThat(irqs.of(another.msix().get(0))).isEmpty();
        }
    }
}
